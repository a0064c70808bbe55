"""The commands of `./clair`, in first-day order: name, module, function, one line of help.

Plain data and no imports: `./clair --help` must cost little more than starting Python.
"""

GROUPS = (
    (
        "Setup",
        (
            ("secrets", "create_secrets", "main", "create the secrets that are missing; `rotate NAME` replaces one"),
            ("check", "check_deployment", "main", "check everything that can be known before a start"),
            ("diff", "show_diff", "main", "show what is rendered but not applied"),
        ),
    ),
    (
        "Run",
        (
            ("database", "start_database", "main", "start the database, or check the external one"),
            ("traefik", "start_services", "main_traefik", "start the edge"),
            ("services", "start_services", "main_services", "start indexer, matcher, notifier and receiver"),
            ("up", "start_services", "main_up", "start or update everything and wait until it is healthy"),
            ("ps", "show_containers", "main_ps", "list the containers with their health"),
            ("logs", "show_containers", "main_logs", "show the last 200 log lines"),
            ("restart", "show_containers", "main_restart", "restart the containers"),
            ("down", "show_containers", "main_down", "stop and remove the containers, keep all data"),
            ("verify", "verify_deployment", "main", "check that the deployment works, end to end"),
        ),
    ),
    (
        "Scan",
        (
            ("scan", "start_scan", "main", "scan an image and decide"),
            ("scan-local", "scan_local", "main", "scan an image that is only in the local Docker"),
            ("fleet", "scan_fleet", "main", "scan every image of a list and say what changed"),
        ),
    ),
    (
        "Feeds",
        (
            ("feeds", "show_feeds", "main", "show the age and state of the feeds that were asked for"),
            ("wait", "wait_feeds", "main", "wait until the feeds are loaded"),
            ("feeds-export", "export_feeds", "main", "load the feeds here and pack them into one file"),
            ("feeds-import", "import_feeds", "main", "bring a pack's feeds into the database"),
        ),
    ),
    (
        "Notifications",
        (
            (
                "notifications",
                "show_notifications",
                "main",
                "list what the receiver got; `retry [ID]` sends dead letters again",
            ),
            ("notify-test", "send_notification", "main", "send one notification through the whole path"),
        ),
    ),
    (
        "Change",
        (
            ("backup", "change.backup_database", "main", "dump the databases, read the dump back, keep the newest"),
            ("restore", "change.restore_database", "main", "bring a backup's databases back (--confirm NAME)"),
            ("restore-test", "change.prove_backup", "main", "prove a backup in a scratch database"),
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
            ("images", "list_images", "main", "list every image"),
            ("quay", "print_quay", "main", "print the block for Quay's configuration"),
            ("destroy", "destroy_deployment", "main", "DESTROY containers, volumes and secrets (--confirm NAME)"),
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
