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
	const char *restore;
	bool incoming;
	bool foreground;
};

static int usage(FILE *to, int status)
{
	(void)fprintf(to, "usage: vmm --config FILE [--incoming | --restore FILE] [--foreground]\n");
	return status;
}

static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
					       { "incoming", no_argument, NULL, 'i' },
					       { "restore", required_argument, NULL, 'r' },
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
			o->incoming = true;
			break;
		case 'r':
			o->restore = optarg;
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
	if (optind != argc || !o->config || (o->incoming && o->restore))
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

static void confine(enum vmm_thread kind)
{
	char *error = NULL;

	if (vmm_sandbox_filter(kind, &error) == 0)
		return;
	_exit(fail(error));
}

/* Where csv.sock is: the one thing that is found by its name later, when csvd was started anew. */
static const char *csv_folder(const struct vmm_config *config)
{
	const char *moved = getenv("HOLDFAST_RUN_DIR");

	for (unsigned i = 0; i < config->n_disks; i++)
		if (!config->disks[i].file[0])
			return moved ? moved : "/run/holdfast";
	return NULL;
}

/* Gives root up, starts the threads, serves until the end. */
static int serve(struct vmm *vm, struct vmm_control *control, const struct vmm_config *config)
{
	char *error = NULL;

	vm->confine = confine;
	if (vmm_sandbox_namespaces(csv_folder(config), false, &error) < 0 ||
	    vmm_sandbox_user(config->uid, (gid_t)config->uid, &error) < 0 ||
	    vmm_threads_start(vm, &error) < 0 || vmm_control_start(control, &error) < 0)
		return fail(error);
	confine(VMM_THREAD_CONTROL);
	return vmm_control_run(control);
}

static int run(const struct options *o, const struct vmm_config *config,
	       const struct vmm_rundir *dir, int signal_fd)
{
	struct vmm_control_params params = { .restore_path = o->restore,
					     .incoming = o->incoming };
	struct vmm_control *control = NULL;
	struct vmm *vm = NULL;
	char *error = NULL;
	int status, r;

	r = vmm_new(config, dir, &vm, &error);
	if (r == 0 && !o->restore && !o->incoming)
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
