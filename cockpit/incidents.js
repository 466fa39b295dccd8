// What is wrong for longer, and the notices that wait to be sent.

import { client, inTurn } from "./host.js";
import { _, badge, format, h, moment, quiet, runLink, Table, words } from "./elements.js";

export function incidentsView() {
  const open = new Table(_("Open incidents"), [_("What"), _("Kind"), _("Since"), _("Times"), _("First run"), _("Told")], it => it.subject, it => [
    it.subject, badge(it.kind), moment(it.since), String(it.times), it.first_run && runLink(it.first_run), it.told.join(", "),
  ]);
  const waiting = new Table(_("Notices that wait"), [_("Notice"), _("To"), _("Since"), _("Tries"), _("Trouble")], it => it.id, it => [
    it.summary, it.target, moment(it.created), String(it.tries), it.error,
  ]);
  const more = quiet();
  waiting.section.append(more);

  const update = inTurn(async () => {
    const found = await client.call("Notices");
    open.show(found.incidents, _("Nothing is wrong for longer."));
    waiting.show(found.notices, _("Everybody has been told."));
    more.textContent = found.more ? format(_("$0 more are left out."), found.more) : "";
  }, error => {
    open.show([], words(error));
    waiting.show([], "");
  });

  return { element: h("div", {}, open.section, waiting.section), update };
}
