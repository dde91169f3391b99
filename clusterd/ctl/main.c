/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clusterctl: the table of commands and options, and how a command line is taken apart.  What a command
 * does is in verbs.c.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/ctl/ctl.h"
#include "clusterd/ctl/parse.h"
#include "clusterd/ipc_qb.h"
#include "config.h"

#define TIMEOUT_DEFAULT_S 300

/* ---- the table ------------------------------------------------------------------------------ */

enum {
	O_JSON = 1 << 0,
	O_NOWAIT = 1 << 1,
	O_TIMEOUT = 1 << 2,
	O_ADDRESS = 1 << 3,
	O_TOKEN = 1 << 4,
	O_TOKEN_MS = 1 << 5,
	O_NAME = 1 << 6,
	O_DRAIN = 1 << 7,
	O_FAILBACK = 1 << 8,
	O_LUN = 1 << 9,
	O_FORCE = 1 << 10,
	O_VM = 1 << 11, /* --memory --cpus --kernel --initrd --append --disk --net */
	O_TO = 1 << 12,
	O_METHOD = 1 << 13, /* --live --quick */
	O_FOLLOW = 1 << 14,
	O_SINCE = 1 << 15,
	O_PLAN = 1 << 16,
	O_RAISE = 1 << 17,
	O_POLICY = 1 << 19, /* what `vm set` takes */
	O_KEEP = 1 << 20,   /* --keep-disks */
	O_SET = 1 << 18,    /* --SETTING VALUE, by clusterd/core/settings.h */
	O_ALWAYS = O_JSON | O_NOWAIT | O_TIMEOUT,
};

static const struct command {
	const char *noun, *verb; /* verb NULL: the noun alone */
	int (*run)(struct ctl *ctl);
	int args;
	unsigned options;
	const char *usage;
} commands[] = {
	{ "cluster", "create", ctl_cluster_create, 1, O_ADDRESS | O_TOKEN_MS,
	  "cluster create NAME [--address A] [--token-ms MS]" },
	{ "cluster", "token", ctl_cluster_token, 0, O_NAME, "cluster token [--name NODE]" },
	{ "cluster", "join", ctl_cluster_join, 1, O_TOKEN | O_ADDRESS,
	  "cluster join ADDRESS --token T [--address OWN]" },
	{ "cluster", "status", ctl_cluster_status, 0, 0, "cluster status" },
	{ "cluster", "set", ctl_cluster_set, 0, O_SET, "cluster set [--SETTING VALUE]..." },
	{ "cluster", "disarm", ctl_cluster_disarm, 0, 0, "cluster disarm" },
	{ "cluster", "arm", ctl_cluster_arm, 0, 0, "cluster arm" },
	{ "cluster", "level", ctl_cluster_level, 0, O_RAISE, "cluster level [--raise]" },
	{ "config", "export", ctl_config_export, 0, 0, "config export" },
	{ "config", "import", ctl_config_import, 1, O_PLAN, "config import FILE [--plan]" },
	{ "config", "check", ctl_config_check, 1, 0, "config check FILE" },
	{ "node", "list", ctl_node_list, 0, 0, "node list" },
	{ "node", "pause", ctl_node_pause, 1, O_DRAIN | O_PLAN, "node pause NODE [--drain] [--plan]" },
	{ "node", "resume", ctl_node_resume, 1, O_FAILBACK, "node resume NODE [--failback]" },
	{ "node", "confirm-dead", ctl_node_confirm_dead, 1, 0, "node confirm-dead NODE" },
	{ "node", "fail", ctl_node_fail, 1, O_PLAN, "node fail NODE --plan" },
	{ "lun", "list", ctl_lun_list, 0, 0, "lun list" },
	{ "volume", "add", ctl_volume_add, 1, O_LUN | O_FORCE, "volume add NAME --lun ID [--force]" },
	{ "volume", "list", ctl_volume_list, 0, 0, "volume list" },
	{ "volume", "move", ctl_volume_move, 2, O_PLAN, "volume move NAME NODE [--plan]" },
	{ "vm", "create", ctl_vm_create, 1, O_VM | O_POLICY,
	  "vm create NAME --kernel K [--initrd I] [--append S] [--memory 256M] [--cpus 1]"
	  " [--disk VOLUME/PATH[,size=1G|,readonly]]... [--net SWITCH[,mac=M]]... [what `vm set` "
	  "takes]" },
	{ "vm", "set", ctl_vm_set, 1, O_POLICY,
	  "vm set NAME [--priority high|medium|low|none] [--preferred N1,N2|none] [--possible N1,N2|any]"
	  " [--anti-affinity GROUP[,hard]|none] [--failover-limit N|auto[/PERIOD]]"
	  " [--failback never|immediate|HH-HH] [--restart-wait TIME]"
	  " [--drain live|quick|shutdown] [--max-pause TIME]" },
	{ "vm", "start", ctl_vm_start, 1, O_TO | O_FORCE, "vm start NAME [--to NODE] [--force]" },
	{ "vm", "stop", ctl_vm_stop, 1, O_FORCE, "vm stop NAME [--force]" },
	{ "vm", "migrate", ctl_vm_migrate, 1, O_TO | O_METHOD | O_PLAN,
	  "vm migrate NAME [--to NODE] [--live|--quick] [--plan]" },
	{ "vm", "cancel", ctl_vm_cancel, 1, 0, "vm cancel NAME" },
	{ "vm", "list", ctl_vm_list, 0, 0, "vm list" },
	{ "vm", "show", ctl_vm_show, 1, 0, "vm show NAME" },
	{ "vm", "console", ctl_vm_console, 1, 0, "vm console NAME" },
	{ "vm", "delete", ctl_vm_delete, 1, O_KEEP | O_PLAN,
	  "vm delete NAME [--keep-disks] [--plan]" },
	{ "events", NULL, ctl_events, 0, O_FOLLOW | O_SINCE, "events [--follow] [--since ID]" },
	{ "why", NULL, ctl_why, 2, 0, "why vm|volume|node NAME" },
	{ "timing", NULL, ctl_timing, 0, 0, "timing" },
	{ "status", NULL, ctl_cluster_status, 0, 0, "status" },
};

/* All commands, or those that begin with the words that were given. */
static int usage(int argc, char **argv)
{
	printf("usage: clusterctl COMMAND [--json] [--no-wait] [--timeout SECONDS]\n\n");
	for (unsigned i = 0; i < CL_ARRAY_LEN(commands); i++) {
		if (argc && strcmp(argv[0], commands[i].noun) != 0)
			continue;
		if (argc > 1 && commands[i].verb && strcmp(argv[1], commands[i].verb) != 0)
			continue;
		printf("  clusterctl %s\n", commands[i].usage);
	}
	printf("\nexit: 0 done, 1 failed, 2 usage, 3 no clusterd or no cluster here, 4 timed out,"
	       " 5 no quorum; see clusterctl(8)\n");
	return 0;
}

#define SETTING_FIRST 256 /* options above: settings, by number */
#define POLICY_FIRST  512 /* ... and what a VM's policy has */

static const struct option plain_options[] = {
	{ "json", no_argument, NULL, 'j' },	  { "no-wait", no_argument, NULL, 'n' },
	{ "timeout", required_argument, NULL, 't' }, { "address", required_argument, NULL, 'a' },
	{ "token", required_argument, NULL, 'T' },   { "token-ms", required_argument, NULL, 'm' },
	{ "name", required_argument, NULL, 'N' },    { "drain", no_argument, NULL, 'd' },
	{ "failback", no_argument, NULL, 'b' },	     { "lun", required_argument, NULL, 'l' },
	{ "force", no_argument, NULL, 'f' },	     { "memory", required_argument, NULL, 'M' },
	{ "cpus", required_argument, NULL, 'c' },    { "kernel", required_argument, NULL, 'k' },
	{ "initrd", required_argument, NULL, 'i' },  { "append", required_argument, NULL, 'A' },
	{ "disk", required_argument, NULL, 'D' },    { "net", required_argument, NULL, 'E' },
	{ "to", required_argument, NULL, 'o' },	     { "live", no_argument, NULL, 'L' },
	{ "quick", no_argument, NULL, 'q' },	     { "follow", no_argument, NULL, 'F' },
	{ "since", required_argument, NULL, 's' },   { "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },	     { "plan", no_argument, NULL, 'p' },
	{ "raise", no_argument, NULL, 'r' },	     { "keep-disks", no_argument, NULL, 'K' },
};

static bool matches(const struct command *cmd, int argc, char **argv)
{
	return argc >= (cmd->verb ? 2 : 1) && strcmp(argv[0], cmd->noun) == 0 &&
	       (!cmd->verb || strcmp(argv[1], cmd->verb) == 0);
}

/* The command takes a VM's policy: then --drain and --failback have values. */
static bool about_policy(int argc, char **argv)
{
	for (int a = 1; a + 1 < argc; a++)
		for (unsigned i = 0; i < CL_ARRAY_LEN(commands); i++)
			if (matches(&commands[i], argc - a, argv + a))
				return commands[i].options & O_POLICY;
	return false;
}

/* A VM's policy, plain ones, and the cluster's settings; out has room for all and the end. */
static void options_make(struct option *out, bool policy)
{
	unsigned n = 0;

	for (unsigned i = 0; policy && i < CTL_POLICY_OPTIONS; i++)
		out[n++] = (struct option){ ctl_policy_options[i], required_argument, NULL,
					    POLICY_FIRST + (int)i };
	for (unsigned i = 0; i < CL_ARRAY_LEN(plain_options); i++)
		if (!policy || (plain_options[i].val != 'd' && plain_options[i].val != 'b'))
			out[n++] = plain_options[i];
	for (unsigned i = 0; i < core_setting_count(); i++)
		out[n++] = (struct option){ core_settings[i].name, required_argument, NULL,
					    SETTING_FIRST + (int)i };
	out[n] = (struct option){ 0 };
}

/* Takes one option; its O_ bit, or 0 if a value or the number of uses is wrong. */
static unsigned option_take(struct ctl *ctl, int c)
{
	uint64_t n;

	if (c >= POLICY_FIRST)
		return ctl->policy[c - POLICY_FIRST] = optarg, O_POLICY;
	if (c >= SETTING_FIRST)
		return ctl->sets[c - SETTING_FIRST] = optarg, O_SET;
	switch (c) {
	case 'p':
		return ctl->plan = true, O_PLAN;
	case 'r':
		return ctl->raise = true, O_RAISE;
	case 'K':
		return ctl->keep_disks = true, O_KEEP;
	case 'j':
		return ctl->json = true, O_JSON;
	case 'n':
		return ctl->no_wait = true, O_NOWAIT;
	case 't':
		if (ctl_number_parse(optarg, 1, 86400, &n) < 0)
			return 0;
		return ctl->timeout_s = (long)n, O_TIMEOUT;
	case 'a':
		return ctl->address = optarg, O_ADDRESS;
	case 'T':
		return ctl->token = optarg, O_TOKEN;
	case 'm':
		return ctl->token_ms = optarg, O_TOKEN_MS;
	case 'N':
		return ctl->name = optarg, O_NAME;
	case 'd':
		return ctl->drain = true, O_DRAIN;
	case 'b':
		return ctl->failback = true, O_FAILBACK;
	case 'l':
		return ctl->lun = optarg, O_LUN;
	case 'f':
		return ctl->force = true, O_FORCE;
	case 'M':
		return ctl->memory = optarg, O_VM;
	case 'c':
		return ctl->cpus = optarg, O_VM;
	case 'k':
		return ctl->kernel = optarg, O_VM;
	case 'i':
		return ctl->initrd = optarg, O_VM;
	case 'A':
		return ctl->append = optarg, O_VM;
	case 'D':
		return ctl->n_disks < CTL_DISKS_MAX ? (ctl->disks[ctl->n_disks++] = optarg, O_VM) : 0;
	case 'E':
		return ctl->n_nets < CTL_NETS_MAX ? (ctl->nets[ctl->n_nets++] = optarg, O_VM) : 0;
	case 'o':
		return ctl->to = optarg, O_TO;
	case 'L':
		return ctl->live = true, O_METHOD;
	case 'q':
		return ctl->quick = true, O_METHOD;
	case 'F':
		return ctl->follow = true, O_FOLLOW;
	case 's':
		return ctl->since = optarg, O_SINCE;
	}
	return 0;
}

int ctl_usage_error(const struct ctl *ctl, const char *what)
{
	return ctl_error(ctl, CTL_USAGE, "EINVAL", "%s; usage: clusterctl %s", what, ctl->usage);
}

/* The commands of a noun, as "create, list or move". */
static void verbs_text(const char *noun, char *out, size_t cap_bytes)
{
	const char *last = NULL;
	size_t len = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < CL_ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].noun, noun) != 0 || !commands[i].verb)
			continue;
		if (last && len < cap_bytes)
			len += (size_t)snprintf(out + len, cap_bytes - len, "%s%s", len ? ", " : "",
						last);
		last = commands[i].verb;
	}
	if (last && len < cap_bytes)
		snprintf(out + len, cap_bytes - len, "%s%s", len ? " or " : "", last);
}

/* The nearest first or second word of a command to the one that was given; NULL: none is near. */
static const char *nearest(const char *noun, const char *word)
{
	unsigned best = CTL_WORD_MAX;
	const char *found = NULL;

	for (unsigned i = 0; i < CL_ARRAY_LEN(commands); i++) {
		const char *other = noun ? commands[i].verb : commands[i].noun;

		if (noun && strcmp(noun, commands[i].noun) != 0)
			continue;
		if (other && ctl_near(word, other) && ctl_distance(word, other) < best) {
			best = ctl_distance(word, other);
			found = other;
		}
	}
	return found;
}

/* No command fits: as much as can be said. */
static int no_command(struct ctl *ctl, int argc, char **argv)
{
	char verbs[256], what[400];
	const char *meant;

	ctl->usage = "COMMAND (see clusterctl --help)";
	if (!argc)
		return ctl_usage_error(ctl, "no command");
	verbs_text(argv[0], verbs, sizeof(verbs));
	meant = nearest(verbs[0] ? argv[0] : NULL, verbs[0] ? argc > 1 ? argv[1] : "" : argv[0]);
	if (!verbs[0])
		snprintf(what, sizeof(what), "there is no such command: %.40s%s%s%s", argv[0],
			 meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
	else if (argc == 1)
		snprintf(what, sizeof(what), "%s: which of %s?", argv[0], verbs);
	else
		snprintf(what, sizeof(what),
			 "there is no such command: %s %.40s; %s%s%sthere is %s", argv[0], argv[1],
			 meant ? "did you mean " : "", meant ? meant : "", meant ? "? " : "",
			 verbs);
	return ctl_usage_error(ctl, what);
}

static int dispatch(struct ctl *ctl, int argc, char **argv, unsigned used,
		    const char *const used_names[])
{
	const struct command *cmd = NULL;
	char what[100];
	int words;

	for (unsigned i = 0; i < CL_ARRAY_LEN(commands) && !cmd; i++)
		if (matches(&commands[i], argc, argv))
			cmd = &commands[i];
	if (!cmd)
		return no_command(ctl, argc, argv);
	ctl->usage = cmd->usage;
	words = cmd->verb ? 2 : 1;
	used &= ~(cmd->options | O_ALWAYS);
	if (used) {
		snprintf(what, sizeof(what), "--%s does not belong to this command",
			 used_names[__builtin_ctz(used)]);
		return ctl_usage_error(ctl, what);
	}
	if (argc - words != cmd->args)
		return ctl_usage_error(ctl, argc - words < cmd->args ? "an argument is missing" :
								       "too many arguments");
	for (int a = 0; a < cmd->args; a++)
		ctl->argv[a] = argv[words + a];
	ctl->argc = cmd->args;
	return cmd->run(ctl);
}

/* A bad option is told with the usage of the command that stands before it, if one does. */
static void usage_find(struct ctl *ctl, int argc, char **argv)
{
	ctl->usage = "COMMAND (see clusterctl --help)";
	for (unsigned i = 0; i < CL_ARRAY_LEN(commands); i++)
		if (matches(&commands[i], argc, argv))
			ctl->usage = commands[i].usage;
}

/* The nearest of the options, of those that are known. */
static const char *nearest_option(const struct option *options, const char *given)
{
	unsigned best = CTL_WORD_MAX;
	const char *found = NULL;
	char word[CTL_WORD_MAX + 2];

	if (strncmp(given, "--", 2) != 0)
		return NULL;
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(given + 2, "="), given + 2);
	for (; options->name; options++)
		if (ctl_near(word, options->name) && ctl_distance(word, options->name) < best) {
			best = ctl_distance(word, options->name);
			found = options->name;
		}
	return found;
}

static int bad_option(const struct ctl *ctl, const struct option *options, int c, const char *given)
{
	const char *meant = c == '?' ? nearest_option(options, given) : NULL;
	char what[200];

	if (meant) {
		snprintf(what, sizeof(what), "option %.60s is not known; did you mean --%.40s?",
			 given, meant);
		return ctl_usage_error(ctl, what);
	}
	snprintf(what, sizeof(what),
		 c == '?' ? "option %.100s is not known" :
		 c == ':' ? "option %.100s lacks its value" :
			    "option value '%.100s' is not allowed",
		 given);
	return ctl_usage_error(ctl, what);
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .timeout_s = TIMEOUT_DEFAULT_S, .tty = isatty(2) };
	struct option long_options[CL_ARRAY_LEN(plain_options) + CTL_POLICY_OPTIONS + CORE_SETS_MAX + 1];
	const char *used_names[32] = { NULL };
	unsigned used = 0, bit;
	bool help = false;
	int c, index, rc;

	opterr = 0;
	options_make(long_options, about_policy(argc, argv));
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			ctl.json = true;
	usage_find(&ctl, argc - 1, argv + 1);
	while ((c = getopt_long(argc, argv, ":h", long_options, &index)) != -1) {
		if (c == 'V') {
			printf("clusterctl %s\n", PACKAGE_VERSION);
			return 0;
		}
		if (c == 'h') {
			help = true;
			continue;
		}
		if (c == '?' || c == ':')
			return bad_option(&ctl, long_options, c, argv[optind - 1]);
		bit = option_take(&ctl, c);
		if (!bit)
			return bad_option(&ctl, long_options, 0, optarg);
		used |= bit;
		used_names[__builtin_ctz(bit)] = long_options[index].name;
	}
	if (help)
		return usage(argc - optind, argv + optind);
	rc = dispatch(&ctl, argc - optind, argv + optind, used, used_names);
	cd_ipc_client_free(ctl.client);
	return rc;
}
