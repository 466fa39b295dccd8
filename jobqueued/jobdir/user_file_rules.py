"""The rules for users' job files: how many files, jobs and paths a user may have."""

from __future__ import annotations

from collections.abc import Iterator

from jobqueued.base.problem import Problem
from jobqueued.base.text import counted
from jobqueued.jobdir.user_files import UserFile, UserFiles, fits
from jobqueued.model.catalog import Catalog
from jobqueued.model.job import Job
from jobqueued.model.users import Owner, UserLimits


class UserFileRules:
    """Judges a file before it is stored, together with the user's other files."""

    def __init__(self, files: UserFiles, catalog: Catalog, limits: UserLimits) -> None:
        self._files, self._catalog, self._limits = files, catalog, limits

    def against(self, file: UserFile) -> str:
        """Return the reason why a user may not store this file, independent of its text, or ""."""
        owner, others = file.owner, self._files.all()
        if not fits(file):
            return f"a file {file.name} of a user with this name can't be stored"
        former = next((each for each in others if each.owner != owner and each.owner.share == owner.share), None)
        if former is not None:
            was = names_of(former.owner)[1]
            remedy = f"root can remove it: jobqueuectl remove --user {was} {former.name}"
            return f"an earlier user with this name still has files here ({was}, {former.shown}); {remedy}"
        most = self._limits.jobs
        own = [each for each in others if each.owner == owner and each.name != file.name]
        if len(own) >= max(1, most):
            return f"you have {counted(len(own), 'file')}, but at most {most} are allowed; add the jobs to one of them"
        return ""

    def beyond(self, file: UserFile, jobs: tuple[Job, ...]) -> Iterator[Problem]:
        """Yield a problem if the user would have too many jobs or paths in all of the user's files together."""
        of_user = (each for each in self._files.all() if each.owner == file.owner and each != file)
        others = sum(len(self._catalog.of_file(self._files.path(each))) for each in of_user)
        most = self._limits.jobs
        awaited = {on.name for job in jobs for on in job.on if on.kind == "path"}
        if awaited and len(known := awaited | self._awaited_elsewhere(file)) > most:
            accepted = f"at most {most} per user, as for jobs (users: {{jobs: …}} in jobqueued.yaml)"
            message = f"found {counted(len(known), 'path')} that jobs wait for; expected {accepted}"
            yield Problem(self._files.path(file), 0, 0, "on", message, code="JQ214")
        if others + len(jobs) > most:
            there = f" in addition to {others} in other files" if others else ""
            found = f"found {counted(len(jobs), 'job')}{there}"
            accepted = f"at most {most} per user (`users: {{jobs: …}}` in jobqueued.yaml)"
            message = f"{found}; expected {accepted}"
            yield Problem(self._files.path(file), 0, 0, "jobs", message, code="JQ214")

    def _awaited_elsewhere(self, file: UserFile) -> set[str]:
        """Return the paths that jobs in the user's other files wait for."""
        others = (job for job in self._catalog.of_owner(file.owner) if job.file != self._files.path(file))
        return {on.name for job in others for on in job.on if on.kind == "path"}


def names_of(owner: Owner) -> tuple[str, str]:
    """Return the two names that root may use for an owner: the user's name, and the unique name with the UID."""
    return owner.name, f"{owner.name}:{owner.uid}"
