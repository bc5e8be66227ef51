"""Exceptions a user can cause. Each message is one line: what happened, where, and what to do."""


class ProtgenError(Exception):
    """Base of every error protgen raises on purpose; the command line prints its message and nothing else."""


class UsageError(ProtgenError):
    """A request that cannot be carried out as stated: a bad option, length, or string (exit code 2)."""


class ConflictError(UsageError):
    """Two conditions that cannot hold together; the message names both."""


class ConfigError(UsageError):
    """A configuration, registry name or keyword that does not exist; the message suggests the nearest one."""


class StructureError(ProtgenError):
    """A structure file that cannot be read truthfully; the message names the file, the place and the reason."""


class DataError(ProtgenError):
    """A data set, store or manifest that is missing, empty or damaged."""


class CheckpointError(ProtgenError):
    """A checkpoint that is missing, damaged, or does not fit the code."""


class DocumentError(DataError):
    """A file of text, JSON or a table that cannot be read within its limits; the message names file and place."""


class LockedError(UsageError):
    """An output folder that another run is using; the message names its host, its process, and since when."""


class DivergedError(ProtgenError):
    """A training whose loss is not finite or explodes; the message names the step and the items of its batch."""


class AllFailedError(DataError):
    """Every input of a run failed (exit code 4); the message names the first and its reason."""


class ToolError(ProtgenError):
    """An external program or oracle that failed or gave what cannot be used; the message names it and the reason."""


class ProtgenWarning(UserWarning):
    """Base of what is noticed on the way; the command line prints it as one line."""


class RecoveredWarning(ProtgenWarning):
    """Something damaged in whose place something older is used; the message names both."""


class PluginWarning(ProtgenWarning):
    """A plug-in of another package that is left out; the message names the package and the reason."""
