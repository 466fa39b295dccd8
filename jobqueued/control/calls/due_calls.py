"""The call DueChanges, which returns the texts of job files and the instants of their changes, in pages."""

from __future__ import annotations

import base64
from typing import Any

from jobqueued.base.instants import to_text
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.model.saved import DueChange
from jobqueued.state.db.store import Store
from jobqueued.state.write_batch import WriteBatch

PAGE, PAGE_BYTES = 100, 1 << 20
"""Maximum number of changes on a page, and the total size of texts (bytes) that ends a page."""


class DueCalls:
    """Answers DueChanges from state.db and the uncommitted changes."""

    def __init__(self, store: Store, batch: WriteBatch) -> None:
        self._store, self._batch = store, batch

    @method(
        "DueChanges",
        AccessRule(Rank.ROOT, reason="job files may hold secrets; run this as root, or the daemon's user"),
    )
    def due_changes(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Return a page of the changes that follow a change number. The last page includes the uncommitted changes.

        Raises StoreError.
        """
        page, size, after = [], 0, asked.get("after", 0)
        for number, change in self._store.due_changes(after, PAGE):
            page.append(_document(change))
            after, size = number, size + len(change.text or b"")
            if size >= PAGE_BYTES:
                break
        if page:
            return {"changes": page, "next": after}
        return {"changes": [_document(change) for change in self._batch.due_changes], "next": None}


def _document(change: DueChange) -> dict[str, Any]:
    text = None if change.text is None else base64.b64encode(change.text).decode()
    return {**change._asdict(), "until": to_text(change.until), "since": to_text(change.since), "text": text}
