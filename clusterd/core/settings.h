/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `clusterctl cluster set` can change: CORE_SETTING(name, field, min, max, default, unit, text), field
 * being a uint32_t of struct core_state.  Snapshots, commands, `config export` and the command line
 * follow from this list.  Included several times.  Append only: the numbers are in entries.
 */
#ifndef CORE_SETTING
#define CORE_SETTING(name, field, min, max, value, unit, text)
#endif
CORE_SETTING("freeze-kill-ms", timing.freeze_kill_ms, 1000, 600000, CORE_FREEZE_KILL_MS, "ms",
	     "a node that is cut off kills its VMs this long after it froze them")
CORE_SETTING("takeover-ms", timing.takeover_ms, 3000, 1200000, CORE_TAKEOVER_MS, "ms",
	     "VMs of a lost node start elsewhere not sooner after its loss")
CORE_SETTING("silent-ms", timing.silent_ms, 5000, 3600000, CORE_SILENT_MS, "ms",
	     "a node whose clusterd is silent while corosync sees it is left alone this long")
CORE_SETTING("retry-ms", timing.retry_ms, 100, 60000, CORE_RETRY_MS, "ms",
	     "pause before a failed step is tried again")
CORE_SETTING("quarantine-losses", quarantine.losses, 0, 8, CORE_QUARANTINE_LOSSES, "",
	     "a node lost so often within the period stays out (0: never)")
CORE_SETTING("quarantine-period-s", quarantine.period_s, 60, 86400, CORE_QUARANTINE_PERIOD_S, "s",
	     "period in which losses count")
CORE_SETTING("quarantine-s", quarantine.time_s, 60, 604800, CORE_QUARANTINE_S, "s",
	     "how long a node stays out; `node resume` ends it")
CORE_SETTING("migrations-out", settings.migrations_out, 1, CORE_MIGRATIONS_MAX, CORE_MIGRATIONS_OUT, "",
	     "migrations that leave one node at a time, for drains and failback")
CORE_SETTING("migrations-in", settings.migrations_in, 1, CORE_MIGRATIONS_MAX, CORE_MIGRATIONS_IN, "",
	     "migrations into one node at a time, for drains and failback")
CORE_SETTING("spare", settings.spare, 0, CORE_SPARE_MAX, 0, "nodes",
	     "no VM is started without --force that would leave no room for the loss of so many nodes")
CORE_SETTING("cpu-overcommit", settings.overcommit, 0, CORE_OVERCOMMIT_MAX, CORE_OVERCOMMIT, "",
	     "vCPUs of VMs for each CPU of a node (0: CPUs are not counted)")
CORE_SETTING("storage-ms", settings.storage_ms, 5000, 3600000, CORE_STORAGE_MS, "ms",
	     "a LUN that does not answer a node so long, but others, is lost to it: its VMs start "
	     "elsewhere")
