"""Says which backups do not fit what is applied, by their manifests, before anything is touched."""

from __future__ import annotations

import re
from typing import List

from ..backup.database_admin import administrator
from ..backup.read_backup import Backup
from ..errors import USAGE, Problem
from ..settings import Deployment


def refuse_unfit(deployment: Deployment, backup: Backup) -> None:
    """Raise Problem (2) if a backup does not fit what is applied, or nothing is."""
    if not (deployment.applied / "deployment.json").is_file():
        raise Problem(f"nothing restored, {deployment.name}: it has no database yet", "./clair database", USAGE)
    refuse_newer_schema(deployment, backup)
    refuse_missing_service(deployment, backup)
    if not deployment.bundled_database:
        administrator(deployment)


def refuse_newer_schema(deployment: Deployment, backup: Backup) -> None:
    """Raise Problem (2) if a database of the backup stands at a migration that the applied release does not know."""
    release = str(backup.manifest["clair_release"])
    for name, version in deployment.facts["release"]["schema"].items():
        found = backup.schema.get(name, 0)
        if found <= int(version):
            continue
        if _numbers(release) > _numbers(deployment.release):
            raise Problem(
                f"backup not usable, {backup.name}: it is of Clair {release}, whose {name} database is "
                f"newer than Clair {deployment.release} can read",
                f"copier update --trust --defaults --data clair_version={release} && ./clair upgrade",
                USAGE,
            )
        # Such as one made between an upgrade that was cut short and its end: its release is no way out.
        raise Problem(
            f"backup not usable, {backup.name}: its {name} database stands at migration {found}, and Clair "
            f"{deployment.release} knows those up to {version}",
            "ls backups",
            USAGE,
        )


def refuse_missing_service(deployment: Deployment, backup: Backup) -> None:
    """Raise Problem (2) if the backup holds the database of a service that this deployment does not have."""
    unknown = [name for name in backup.databases if name not in deployment.facts["services"]]
    if unknown:
        raise Problem(
            f"backup not usable, {backup.name}: it holds the database {unknown[0]}, and this deployment has no {unknown[0]}",
            "copier update --trust --defaults --data notifier_delivery=bundled && ./clair up",
            USAGE,
        )


def _numbers(release: str) -> List[int]:
    return [int(number) for number in re.findall(r"[0-9]+", release)]
