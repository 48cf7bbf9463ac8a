"""Which of the versions that a store has are served: a pure function of names and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from service.config import Settings, shares_of
from service.store.layout import VersionFolder


@dataclass(frozen=True, slots=True)
class Chosen:
    """The versions of one model that are to be served.

    Attributes:
        all_of: each of them, oldest first.
        first_of: the first of them that can be served, newest first.
    """

    all_of: tuple[VersionFolder, ...] = ()
    first_of: tuple[VersionFolder, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether none is wanted."""
        return not self.all_of and not self.first_of


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """What an operator wants of a store.

    Attributes:
        names: `name` for a model by its policy, `name/version` for that very version; empty: every
            model by its policy.
        is_latest: the policy is the newest version that can be served, else every one.
        weighted: versions that have a share of the requests, `name/version` each: their model is
            served in these, and in none but these and those that `names` has.
    """

    names: tuple[str, ...] = ()
    is_latest: bool = False
    weighted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings say."""
        is_latest = settings.version_policy == "latest"
        return cls(settings.models, is_latest, frozenset(shares_of(settings.version_weights)))

    def choose(self, found: Sequence[VersionFolder]) -> Chosen:
        """Choose among the versions of one model, oldest first."""
        listed = self.weighted | set(self.names)
        all_of = [folder for folder in found if folder.key in listed]
        if not found or not self._takes_policy(found[0].name):
            return Chosen(tuple(all_of))
        if self.is_latest:
            return Chosen(tuple(all_of), tuple(reversed(found)))
        return Chosen(tuple(found))

    def _takes_policy(self, name: str) -> bool:
        has_shares = any(key.startswith(f"{name}/") for key in self.weighted)
        return not has_shares and (not self.names or name in self.names)

    def absent(self, found: Iterable[VersionFolder]) -> list[str]:
        """What is named and is not there, in the order in which it was named."""
        there = {name for folder in found for name in (folder.name, folder.key)}
        named = dict.fromkeys((*self.names, *sorted(self.weighted)))
        return [name for name in named if name not in there]
