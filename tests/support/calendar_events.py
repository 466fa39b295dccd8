"""Calendar events of systemd that cron can say, each with its five fields."""

from __future__ import annotations

SAYABLE = {
    "daily": "0 0 * * *",
    "Weekly": "0 0 * * mon",
    "quarterly": "0 0 1 1,4,7,10 *",
    "02:30": "30 2 * * *",
    "*:0/15": "*/15 * * * *",
    "*-*-* 0/2:00:00": "0 */2 * * *",
    "*-*-* 6,18:00": "0 6,18 * * *",
    "Mon,Wed..Fri 9..17/2:05": "5 9-17/2 * * mon,wed-fri",
    "Sat..Sun 03:10": "10 3 * * sat,sun",
    "Sun *-*-* 03:10:00": "10 3 * * sun",
    "*-1..6-1 00:00:00": "0 0 1 1-6 *",
    "*-*-1/7 04:00": "0 4 */7 * *",
    "01-24 12:00": "0 12 24 1 *",
    "*-*-* 02:30:15": "30 2 * * *",
    "Sun *:0/30:0/20": "*/30 * * * sun",
}
