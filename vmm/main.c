/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmm: runs one virtual machine.  Order matters: everything that needs root is
 * opened first, then root is given up, then threads start, then system calls are
 * restricted, and only then does a guest run.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "config.h"
#include "vmm/control.h"
#include "vmm/rundir.h"
#include "vmm/sandbox.h"
#include "vmm/vm_config.h"
#include "vmm/vmm.h"

#define EXIT_USAGE 2

struct options {
	const char *config;
	const char *incoming_address; /* NULL: none */
	unsigned incoming_port;
	const char *restore;
	const char *peer;
	bool foreground;
};

static int usage(FILE *to, int status)
{
	(void)fprintf(to, "usage: vmm --config FILE [--incoming ADDRESS:PORT [--peer NODE] | "
			  "--restore FILE] [--foreground]\n");
	return status;
}

/* Splits "ADDRESS:PORT" or "[ADDRESS]:PORT" in place. */
static int incoming_parse(char *text, struct options *o)
{
	char *colon = strrchr(text, ':'), *end;
	unsigned long port;

	if (!colon || colon == text)
		return -EINVAL;
	errno = 0;
	port = strtoul(colon + 1, &end, 10);
	if (errno || *end || !colon[1] || port == 0 || port > 65535)
		return -EINVAL;
	*colon = 0;
	if (text[0] == '[' && colon[-1] == ']') {
		colon[-1] = 0;
		text++;
	}
	o->incoming_address = text;
	o->incoming_port = (unsigned)port;
	return 0;
}

static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
					       { "incoming", required_argument, NULL, 'i' },
					       { "restore", required_argument, NULL, 'r' },
					       { "peer", required_argument, NULL, 'p' },
					       { "foreground", no_argument, NULL, 'f' },
					       { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' },
					       { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'i':
			if (incoming_parse(optarg, o) < 0) {
				(void)fprintf(stderr, "vmm: --incoming: %s; allowed: ADDRESS:PORT\n",
					      optarg);
				return -EINVAL;
			}
			break;
		case 'r':
			o->restore = optarg;
			break;
		case 'p':
			o->peer = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'h':
			exit(usage(stdout, EXIT_SUCCESS));
		case 'V':
			(void)printf("vmm (holdfast) " PACKAGE_VERSION "\n");
			exit(EXIT_SUCCESS);
		default:
			return -EINVAL;
		}
	}
	if (optind != argc || !o->config || (o->incoming_address && o->restore))
		return -EINVAL;
	return 0;
}

/* One line, to whoever started us and, once it is open, to vmm.log. */
static int fail(char *error)
{
	cl_error("%s", error ? error : "out of memory");
	free(error);
	return EXIT_FAILURE;
}

static void pid_write(const struct vmm_rundir *dir)
{
	CL_CLEANUP_CLOSE int fd = vmm_rundir_file(dir, "vmm.pid");

	if (fd < 0 || dprintf(fd, "%d\n", dir->pid) < 0)
		cl_warning("%s/vmm.pid: %s", dir->path, strerror(fd < 0 ? -fd : errno));
}

/* The threads run and root is gone: serve until the end. */
static int serve(struct vmm *vm, struct vmm_control *control, const struct vmm_config *config)
{
	char *error = NULL;

	if (vmm_sandbox_user(config->uid, (gid_t)config->uid, config->run_dir, &error) < 0 ||
	    vmm_threads_start(vm, &error) < 0 || vmm_sandbox_seccomp(&error) < 0)
		return fail(error);
	return vmm_control_run(control);
}

static int run(const struct options *o, const struct vmm_config *config,
	       const struct vmm_rundir *dir, int signal_fd)
{
	struct vmm_control_params params = { .restore_path = o->restore,
					     .incoming_address = o->incoming_address,
					     .incoming_port = o->incoming_port,
					     .peer = o->peer ? o->peer : config->peer };
	struct vmm_control *control = NULL;
	struct vmm *vm = NULL;
	char *error = NULL;
	int status, r;

	r = vmm_new(config, dir, &vm, &error);
	if (r == 0 && !o->restore && !o->incoming_address)
		r = vmm_boot_load(vm, &error);
	params.vm = vm;
	params.signal_fd = signal_fd;
	if (r == 0)
		r = vmm_control_new(&params, &control, &error);
	if (r == 0 && !o->foreground)
		r = vmm_sandbox_stdio(dir, &error);
	if (r == 0)
		pid_write(dir);
	status = r < 0 ? fail(error) : serve(vm, control, config);
	/* Fenced: nothing is given back in an orderly way, nothing may delay the end. */
	if (vm && vm->exit_reason == VMM_EXIT_FENCED)
		_exit(status);
	vmm_control_free(control);
	vmm_free(vm);
	return status;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct vmm_rundir dir = VMM_RUNDIR_NONE;
	struct vmm_config *config = NULL;
	char *error = NULL;
	sigset_t handled;
	CL_CLEANUP_CLOSE int signal_fd = -1;
	int status;

	cl_log_init("vmm", CL_LOG_INFO);
	if (options_parse(argc, argv, &o) < 0)
		return usage(stderr, EXIT_USAGE);
	/* They come to the control loop; blocked before any thread exists. */
	sigemptyset(&handled);
	sigaddset(&handled, SIGTERM);
	sigaddset(&handled, SIGINT);
	sigaddset(&handled, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &handled, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	signal_fd = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0) {
		cl_error("signalfd: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	if (vmm_config_load(o.config, &config, &error) < 0)
		return fail(error);
	/* First of all: what is in the folder belongs to the vmm that has it. */
	if (vmm_rundir_open(config->run_dir, &dir, &error) < 0)
		status = fail(error);
	else
		status = run(&o, config, &dir, signal_fd);
	vmm_rundir_close(&dir);
	vmm_config_free(config);
	return status;
}
