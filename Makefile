# Two commands do all the set-up: `make run` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help run test test-arm64 check pins bench docs faults faults-hub faults-doord faults-store \
	faults-daemons faults-orders faults-rules slow sbom

PYTHON ?= python3
BIN := .venv/bin

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

run: ## hub, broker and door in one: a door that opens for the right face, with your camera or in rehearsal
	@$(PYTHON) firmware_scripts/prepare --for run
	@$(BIN)/fleethub try

test: ## everything that must hold, with the style, type and import checks
	@$(PYTHON) firmware_scripts/prepare --for test
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest -m "not slow"

check: ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

faults: ## kills, cuts, damage and random orders in their full counts: three runs at once, which mostly wait
	@$(PYTHON) firmware_scripts/prepare --for test
	@$(MAKE) --no-print-directory -j 3 --keep-going faults-hub faults-doord faults-store faults-daemons \
		faults-orders faults-rules

FAULTS := $(BIN)/pytest -o timeout=4000

faults-hub:
	DOOR_KILLS=200 $(FAULTS) tests/faults/test_sync_kills.py tests/test_agent_live.py

faults-doord:
	DOOR_KILLS=200 DOOR_EVENTS=100000 $(FAULTS) tests/faults/test_sync_doord_kills.py tests/faults/test_sync_line.py \
		tests/faults/test_flood.py

faults-store:
	DOOR_KILLS=1000 DOOR_CUTS=10000 DOOR_DAMAGE=1500 $(FAULTS) tests/test_store_kills.py \
		tests/faults/test_page_kills.py tests/test_store_power.py tests/test_store_damage.py tests/test_store_full.py

faults-daemons:
	DOOR_KILLS=1000 DOOR_FILES=12 DOOR_STEPS=1000 $(FAULTS) tests/faults/test_update_cuts.py \
		tests/faults/test_broken_files.py tests/faults/test_clock_steps.py tests/faults/test_hangs.py \
		tests/faults/test_canaries.py tests/faults/test_listeners.py tests/faults/test_half_a_core.py \
		tests/faults/test_flash_wear.py tests/faults/test_reconnect_storm.py

faults-orders:
	DOOR_ORDERS=20000 $(FAULTS) tests/faults/test_sync_orders.py

faults-rules:
	DOOR_CASES=100000 DOOR_STRINGS=1000000 DOOR_MUTANTS=10000 DOOR_KILLS=500 DOOR_HOURS=24 DOOR_DAYS=1000 $(FAULTS) \
		tests/test_door_any_day.py tests/test_door_debounce.py tests/test_door_oracle.py tests/test_credentials_hostile.py tests/test_update_verification.py \
		tests/faults/test_reset_cuts.py tests/faults/test_soak.py
	DOOR_KILLS=100 $(FAULTS) tests/test_app_kills.py

slow: ## the tests that `make test` leaves out for their length: whole installations, images, panels of attacks
	@$(PYTHON) firmware_scripts/prepare --for test
	$(BIN)/pytest -o timeout=4000 -m slow

test-arm64: ## installation and tests on a Raspberry Pi's architecture, emulated (root; `ALL=1` for every test, hours)
	@$(PYTHON) firmware_scripts/prepare --for test
	@tests/arm64/run $(if $(ALL),--all) || [ $$? -eq 77 ]

bench: ## speed of every stage, beside its alternatives, on this machine
	@$(PYTHON) firmware_scripts/prepare --for run
	@$(BIN)/doorctl bench

pins: ## write requirements/*.txt anew from pyproject.toml
	@$(PYTHON) firmware_scripts/pins

sbom: ## the list of everything that a terminal is made of (SBOM, CycloneDX) into sbom.json
	@$(PYTHON) firmware_scripts/prepare --for test
	@$(BIN)/python firmware_scripts/sbom terminal sbom.json

docs: ## write the generated parts of the READMEs anew
	DOOR_WRITE_DOCS=1 $(BIN)/pytest tests/test_docs.py -k generated
