"""The commands of `./clair`, in first-day order: name, module, function, one line of help.

Plain data and no imports: `./clair --help` must cost little more than starting Python.
"""

GROUPS = (
    (
        "Setup",
        (
            (
                "secrets",
                "state.create_secrets",
                "main",
                "create the secrets that are missing; `rotate NAME` replaces one",
            ),
            ("check", "checks.check_deployment", "main", "check everything that can be known before a start"),
            ("diff", "state.show_diff", "main", "show what is rendered but not applied"),
        ),
    ),
    (
        "Run",
        (
            ("database", "lifecycle.start_database", "main", "start the database, or check the external one"),
            ("traefik", "lifecycle.start_services", "main_traefik", "start the edge"),
            ("services", "lifecycle.start_services", "main_services", "start indexer, matcher, notifier and receiver"),
            ("up", "lifecycle.start_services", "main_up", "start or update everything and wait until it is healthy"),
            ("ps", "lifecycle.show_containers", "main_ps", "list the containers with their health"),
            ("logs", "lifecycle.show_containers", "main_logs", "show the last 200 log lines"),
            ("restart", "lifecycle.show_containers", "main_restart", "restart the containers"),
            ("down", "lifecycle.show_containers", "main_down", "stop and remove the containers, keep all data"),
            ("verify", "verify.verify_deployment", "main", "check that the deployment works, end to end"),
        ),
    ),
    (
        "Scan",
        (
            ("scan", "scan.start_scan", "main", "scan an image and decide"),
            ("scan-local", "scan.scan_local", "main", "scan an image that is only in the local Docker"),
            ("fleet", "scan.scan_fleet", "main", "scan every image of a list and say what changed"),
        ),
    ),
    (
        "Feeds",
        (
            ("feeds", "feeds.show_feeds", "main", "show the age and state of the feeds that were asked for"),
            ("wait", "feeds.wait_feeds", "main", "wait until the feeds are loaded"),
            ("feeds-export", "packs.export_feeds", "main", "load the feeds here and pack them into one file"),
            ("feeds-import", "packs.import_feeds", "main", "bring a pack's feeds into the database"),
        ),
    ),
    (
        "Notifications",
        (
            (
                "notifications",
                "notifications.show_notifications",
                "main",
                "list what the receiver got; `retry [ID]` sends dead letters again",
            ),
            ("notify-test", "notifications.send_notification", "main", "send one notification through the whole path"),
        ),
    ),
    (
        "Change",
        (
            ("backup", "backup.backup_database", "main", "dump the databases, read the dump back, keep the newest"),
            ("restore", "change.restore_database", "main", "bring a backup's databases back (--confirm NAME)"),
            ("restore-test", "backup.prove_backup", "main", "prove a backup in a scratch database"),
            (
                "upgrade",
                "change.upgrade_release",
                "main",
                "change the Clair release, after `copier update`; --plan only shows how",
            ),
            ("rollback", "change.rollback_release", "main", "go back from an upgrade, finished or not"),
            ("database-upgrade", "change.upgrade_database", "main", "change the PostgreSQL major, into a new volume"),
        ),
    ),
    (
        "Operate",
        (
            ("images", "lifecycle.list_images", "main", "list every image"),
            ("quay", "lifecycle.print_quay", "main", "print the block for Quay's configuration"),
            (
                "destroy",
                "lifecycle.destroy_deployment",
                "main",
                "DESTROY containers, volumes and secrets (--confirm NAME)",
            ),
        ),
    ),
)

COMMANDS = {row[0]: row for _, rows in GROUPS for row in rows}


def help_text() -> str:
    """Return what `./clair --help` prints."""
    lines = ["usage: ./clair COMMAND [OPTIONS]", ""]
    for title, rows in GROUPS:
        lines.append(title)
        lines.extend(f"  {name:<16} {text}" for name, _, _, text in rows)
        lines.append("")
    lines.append("./clair COMMAND --help lists its options.")
    lines.append(
        "Exit codes: 0 done or clean; 1 the answer is no; 2 wrong use or configuration; 3 could not be decided."
    )
    return "\n".join(lines)
