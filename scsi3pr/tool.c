/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `scsi3pr` tool: an operator's view of, and hand on, persistent reservations (scsi3pr(8)).
 *
 * Decides nothing that the library does not; every command does one thing and checks it.  `clear`,
 * which takes every node's registration, asks for a word on the command line.
 */
#include "scsi3pr/scsi3pr.h"
#include "scsi3pr/tool_print.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

enum {
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_CONFLICT = 3,
	EXIT_UNKNOWN = 4,
	EXIT_UNSUPPORTED = 5,
	EXIT_ABSENT = 6,
};

struct options {
	bool json;
	unsigned timeout_ms;
	bool have_key, have_victim, have_old;
	uint64_t key, victim, old;
	unsigned type;
	bool no_aptpl;
	bool every_key;
};

/* Returns an exit status. result gets members; error is left to fail_from(). */
typedef int (*command_fn)(struct scsi3pr_dev *dev, const struct options *o, json_t *result);

static int exit_status(int ret)
{
	switch (ret) {
	case 0:
		return 0;
	case -EBADE:
		return EXIT_CONFLICT;
	case -ETIMEDOUT:
		return EXIT_UNKNOWN;
	case -EOPNOTSUPP:
		return EXIT_UNSUPPORTED;
	case -EINVAL:
		return EXIT_USAGE;
	default:
		return EXIT_FAILED;
	}
}

static int done(struct scsi3pr_dev *dev, json_t *result, int ret)
{
	if (ret < 0)
		json_object_set_new(
			result, "error",
			json_string(scsi3pr_error(dev)[0] ? scsi3pr_error(dev) : strerror(-ret)));
	return exit_status(ret);
}

static int cmd_keys(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	static struct scsi3pr_keys keys;
	int ret = scsi3pr_keys_read(dev, &keys);

	if (ret == 0) {
		json_object_update_new(result, tool_keys_json(&keys));
		if (!o->json)
			tool_keys_print(&keys);
	}
	return done(dev, result, ret);
}

static int cmd_show(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	static struct scsi3pr_full_status status;
	static struct scsi3pr_keys keys;
	struct scsi3pr_reservation now;
	struct scsi3pr_lun lun;
	bool full;
	int ret = scsi3pr_identify(dev, &lun);

	if (ret == 0)
		ret = scsi3pr_reservation_read(dev, &now);
	if (ret == 0)
		ret = scsi3pr_keys_read(dev, &keys);
	if (ret < 0)
		return done(dev, result, ret);
	ret = scsi3pr_full_status_read(dev, &status);
	if (ret < 0 && ret != -EOPNOTSUPP)
		return done(dev, result, ret);
	full = ret == 0;
	json_object_set_new(result, "lun", tool_lun_json(&lun));
	json_object_set_new(result, "reservation", tool_reservation_json(&now));
	json_object_update_new(result, tool_keys_json(&keys));
	json_object_set_new(result, "registrations",
			    full ? tool_full_status_json(&status) : json_null());
	if (o->json)
		return 0;
	tool_lun_print(&lun);
	tool_reservation_print(&now);
	if (full) {
		printf("PRgeneration 0x%x, %u registered\n", status.generation, status.n);
		tool_full_status_print(&status);
	} else {
		tool_keys_print(&keys);
	}
	return 0;
}

static int cmd_capabilities(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	struct scsi3pr_capabilities caps;
	int ret = scsi3pr_capabilities_read(dev, &caps);

	if (ret == 0) {
		json_object_update_new(result, tool_capabilities_json(&caps));
		if (!o->json)
			tool_capabilities_print(&caps);
	}
	return done(dev, result, ret);
}

static int cmd_register(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	int ret = o->have_old ? scsi3pr_register_exact(dev, o->old, o->key, !o->no_aptpl)
			      : scsi3pr_register(dev, o->key, !o->no_aptpl);

	if (ret == 0 && !o->json)
		printf("registered\n");
	return done(dev, result, ret);
}

static int cmd_reserve(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	unsigned type;
	int ret = scsi3pr_reserve(dev, o->key, o->type, &type);

	if (ret == 0) {
		json_object_set_new(result, "type", json_integer(type));
		if (!o->json)
			printf("reserved, type %u %s\n", type, scsi3pr_type_name(type));
	}
	return done(dev, result, ret);
}

static int cmd_cut_off(struct scsi3pr_dev *dev, const struct options *o, json_t *result,
		       bool fence_it)
{
	struct scsi3pr_fence fence;

	if (fence_it)
		scsi3pr_fence(dev, o->key, o->victim, &fence);
	else
		scsi3pr_drain(dev, o->key, o->victim, &fence);
	json_object_set_new(result, "proof", json_string(scsi3pr_proof_name(fence.proof)));
	json_object_set_new(result, "text", json_string(fence.text));
	json_object_set_new(result, "generation", json_integer(fence.generation));
	if (fence.proof == SCSI3PR_FENCED || fence.proof == SCSI3PR_DRAINED) {
		if (!o->json)
			printf("%s: %s\n", scsi3pr_proof_name(fence.proof), fence.text);
		return 0;
	}
	json_object_set_new(result, "error", json_string(fence.text));
	switch (fence.proof) {
	case SCSI3PR_KEY_ABSENT:
		return EXIT_ABSENT;
	case SCSI3PR_UNKNOWN:
		return EXIT_UNKNOWN;
	default:
		return fence.error == -EINVAL	    ? EXIT_USAGE
		       : fence.error == -EOPNOTSUPP ? EXIT_UNSUPPORTED
		       : fence.error == -EBADE	    ? EXIT_CONFLICT
						    : EXIT_FAILED;
	}
}

static int cmd_preempt_abort(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	return cmd_cut_off(dev, o, result, true);
}

static int cmd_drain(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	return cmd_cut_off(dev, o, result, false);
}

static int cmd_unregister(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	int ret = scsi3pr_unregister(dev, o->key);

	if (ret == 0 && !o->json)
		printf("unregistered\n");
	return done(dev, result, ret);
}

static int cmd_check(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	struct scsi3pr_check check;

	scsi3pr_check(dev, o->key, &check);
	json_object_set_new(result, "health", json_string(scsi3pr_health_name(check.health)));
	json_object_set_new(result, "generation", json_integer(check.generation));
	if (check.health == SCSI3PR_HEALTHY) {
		if (!o->json)
			printf("healthy: key registered, reservation type %u in place\n",
			       check.type);
		return 0;
	}
	json_object_set_new(result, "error", json_string(check.text));
	return check.health == SCSI3PR_NO_ANSWER ? EXIT_UNKNOWN : EXIT_CONFLICT;
}

static int cmd_clear(struct scsi3pr_dev *dev, const struct options *o, json_t *result)
{
	int ret;

	if (!o->every_key) {
		json_object_set_new(result, "error",
				    json_string("clear removes the reservation and every node's "
						"key; say --every-key if you mean it"));
		return EXIT_USAGE;
	}
	ret = scsi3pr_clear(dev, o->key);
	if (ret == 0 && !o->json)
		printf("cleared\n");
	return done(dev, result, ret);
}

static int list_luns(const struct options *o, json_t *result)
{
	enum { CAP = 256 };
	struct scsi3pr_lun *luns = calloc(CAP, sizeof(*luns));
	json_t *list = json_array();
	size_t n = 0;
	int ret = luns ? scsi3pr_luns_list(luns, CAP, &n) : -ENOMEM;

	for (size_t i = 0; i < n; i++) {
		json_array_append_new(list, tool_lun_json(&luns[i]));
		if (!o->json)
			tool_lun_print(&luns[i]);
	}
	if (!o->json && n == 0 && ret == 0)
		printf("no SCSI disks\n");
	free(luns);
	json_object_set_new(result, "luns", list);
	if (ret < 0)
		json_object_set_new(result, "error", json_string(strerror(-ret)));
	return exit_status(ret);
}

static const struct {
	const char *name;
	command_fn run;
	bool needs_key, needs_victim;
} commands[] = {
	{ "keys", cmd_keys, false, false },
	{ "show", cmd_show, false, false },
	{ "capabilities", cmd_capabilities, false, false },
	{ "register", cmd_register, true, false },
	{ "reserve", cmd_reserve, true, false },
	{ "preempt-abort", cmd_preempt_abort, true, true },
	{ "drain", cmd_drain, true, true },
	{ "unregister", cmd_unregister, true, false },
	{ "check", cmd_check, true, false },
	{ "clear", cmd_clear, true, false },
};

static void usage(void)
{
	fputs("usage: scsi3pr [--json] [--timeout SECONDS] COMMAND [DEVICE] [OPTIONS]\n"
	      "  list                                     SCSI disks of this node by LUN id\n"
	      "  keys DEVICE                              registered keys\n"
	      "  show DEVICE                              identity, reservation, registrations\n"
	      "  capabilities DEVICE                      what the target can do\n"
	      "  register DEVICE --key K [--old-key K] [--no-aptpl]\n"
	      "  reserve DEVICE --key K [--type N]        8, or 7 where 8 is refused\n"
	      "  check DEVICE --key K                     key and reservation still in place?\n"
	      "  preempt-abort DEVICE --key K --victim K  fence, and verify\n"
	      "  drain DEVICE --key K --victim K          end what a victim without a key had "
	      "under way\n"
	      "  unregister DEVICE --key K\n"
	      "  clear DEVICE --key K --every-key         admin recovery only\n"
	      "DEVICE is a path device (/dev/sdX) or "
	      "iscsi://ADDRESS[:PORT]/IQN/LUN[?initiator=IQN]\n"
	      "Exit status: 0 done, 1 failed, 2 usage, 3 reservation conflict, 4 outcome unknown,\n"
	      "5 not supported, 6 the victim's key was absent (no proof)\n",
	      stdout);
}

static int number(const char *text, int base, uint64_t max, uint64_t *ret_value)
{
	char *end;

	errno = 0;
	*ret_value = strtoull(text, &end, base);
	return errno || *end || end == text || text[0] == '-' || *ret_value > max ? -EINVAL : 0;
}

static int usage_error(json_t *result, const char *what, const char *seen)
{
	json_object_set_new(result, "error", json_sprintf("%s%s; try scsi3pr --help", what, seen));
	return EXIT_USAGE;
}

/* 0 or EXIT_USAGE with the error in result. */
static int options_parse(int argc, char **argv, struct options *o, json_t *result)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "timeout", required_argument, NULL, 't' },
		{ "key", required_argument, NULL, 'k' },
		{ "victim", required_argument, NULL, 'v' },
		{ "old-key", required_argument, NULL, 'o' },
		{ "type", required_argument, NULL, 'T' },
		{ "no-aptpl", no_argument, NULL, 'n' },
		{ "every-key", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t value = 0;
	int c, ret = 0;

	opterr = 0;
	while (ret == 0 && (c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		switch (c) {
		case 'j':
			o->json = true;
			break;
		case 't':
			ret = number(optarg, 10, 3600, &value);
			o->timeout_ms = (unsigned)value * 1000;
			break;
		case 'k':
			ret = number(optarg, 16, UINT64_MAX, &o->key);
			o->have_key = true;
			break;
		case 'v':
			ret = number(optarg, 16, UINT64_MAX, &o->victim);
			o->have_victim = true;
			break;
		case 'o':
			ret = number(optarg, 16, UINT64_MAX, &o->old);
			o->have_old = true;
			break;
		case 'T':
			ret = number(optarg, 10, 8, &value);
			o->type = (unsigned)value;
			if (ret == 0 && (value == 0 || scsi3pr_type_name(o->type)[0] == 'u'))
				ret = -EINVAL;
			break;
		case 'n':
			o->no_aptpl = true;
			break;
		case 'e':
			o->every_key = true;
			break;
		case 'h':
			usage();
			exit(0);
		case 'V':
			printf("scsi3pr %s\n", PACKAGE_VERSION);
			exit(0);
		default:
			return usage_error(result,
					   c == ':' ? "this option lacks its value: " :
						      "there is no such option: ",
					   argv[optind - 1]);
		}
		if (ret < 0)
			return usage_error(result,
					   "a key is hexadecimal, a type one of 1 3 5 6 7 8, a"
					   " time-out up to 3600 s; seen: ",
					   optarg);
	}
	return 0;
}

static int command_run(const char *name, const char *device, const struct options *o,
		       json_t *result)
{
	char error[SCSI3PR_TEXT_MAX];
	struct scsi3pr_dev *dev;
	int ret;

	for (size_t i = 0; i < CL_ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (!device)
			return usage_error(result, "no DEVICE for ", name);
		if ((commands[i].needs_key && (!o->have_key || o->key == 0)) ||
		    (commands[i].needs_victim && !o->have_victim)) {
			json_object_set_new(
				result, "error",
				json_sprintf("%s needs --key%s (hexadecimal, not 0)", name,
					     commands[i].needs_victim ? " and --victim" : ""));
			return EXIT_USAGE;
		}
		ret = scsi3pr_open(device, o->timeout_ms, &dev, error);
		if (ret < 0) {
			json_object_set_new(result, "error", json_string(error));
			return ret == -EOPNOTSUPP ? EXIT_UNSUPPORTED : EXIT_FAILED;
		}
		json_object_set_new(result, "device", json_string(device));
		ret = commands[i].run(dev, o, result);
		scsi3pr_close(dev);
		return ret;
	}
	return usage_error(result, "there is no such command: ", name);
}

static int run(int argc, char **argv, const struct options *o, json_t *result)
{
	if (!argc)
		return usage_error(result, "no command", "");
	if (strcmp(argv[0], "list") == 0 && argc == 1)
		return list_luns(o, result);
	if (argc > 2 || strcmp(argv[0], "list") == 0)
		return usage_error(result, "one word too many: ", argv[argc - 1]);
	return command_run(argv[0], argv[1], o, result);
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	json_t *result;
	int status;

	for (int i = 1; i < argc; i++) /* an error in front of it is JSON, too */
		o.json |= strcmp(argv[i], "--json") == 0;
	result = json_object();
	status = options_parse(argc, argv, &o, result);
	if (status == 0)
		status = run(argc - optind, argv + optind, &o, result);
	json_object_set_new(result, "ok", json_boolean(status == 0));
	if (status != 0 && !o.json)
		fprintf(stderr, "scsi3pr: %s\n",
			json_string_value(json_object_get(result, "error")));
	if (o.json) {
		json_dumpf(result, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
		printf("\n");
	}
	json_decref(result);
	if (fflush(stdout) != 0)
		return EXIT_FAILED;
	return status;
}
