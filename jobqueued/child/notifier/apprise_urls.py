"""Send a notice to one of Apprise's URLs, such as ``slack://…``, if the package apprise is installed."""

from __future__ import annotations

import logging

from jobqueued.child.notifier import notice_text
from jobqueued.child.notifier.notice import Later, Never, NoticeToSend
from jobqueued.child.notifier.reach import refusal

_TYPES = {"info": "INFO", "warning": "WARNING", "error": "FAILURE", "critical": "FAILURE"}
_LONGEST_OUTPUT = 1024


class LastMessage(logging.Handler):
    """Keeps the last message that was logged."""

    said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = f": {record.getMessage()}"


def send(notice: NoticeToSend) -> None:
    """Send the notice with Apprise. A failure counts as temporary, because Apprise does not return the cause."""
    try:
        import apprise
    except ImportError:
        raise Never("apprise is not installed; to install it: apt install apprise") from None
    url = notice.address
    notice.hide(url)
    log = LastMessage(logging.WARNING)
    logging.getLogger("apprise").addHandler(log)
    service = apprise.Apprise()
    if not service.add(url):
        said = f"found a URL that apprise does not support{notice.quoted(log.said)}"
        raise Never(f"apprise: {said}; expected slack://…, ntfy://…, see apprise(1)")
    known = notice_text.values(notice)
    template = notice.setting("template", str, "")
    tail = str(known["tail"])[-_LONGEST_OUTPUT:]
    text = notice_text.fill(template, notice, as_json=False) if template else notice_text.body(notice, tail)
    kind = _TYPES[str(known["severity"])] if known["event"] != "recovery" else "SUCCESS"
    title = str(known["summary"])
    if not service.notify(body=text, title=title, notify_type=getattr(apprise.NotifyType, kind), body_format="text"):
        if refused := refusal():
            raise Never(f"apprise: {url.partition('://')[0]}://: {refused.strerror}")
        raise Later(f"apprise: {url.partition('://')[0]}:// did not accept the notice{notice.quoted(log.said)}")
