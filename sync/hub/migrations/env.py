"""Called by Alembic: runs the steps that are due on the connection, and in the transaction, that `storage` holds."""

from __future__ import annotations

from alembic import context

from sync.hub.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata,
                  transactional_ddl=True, render_as_batch=True)
context.run_migrations()
