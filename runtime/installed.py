"""The versions of installed packages."""

from __future__ import annotations

from importlib import metadata


def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed, or was unpacked without its metadata."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def installed_versions(*packages: str) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    return {package: version for package in packages if (version := installed_version(package)) is not None}
