/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The target on a socket keeps the contract that LIO and the model keep: the same suite. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cluster/target.h"
#include "tests/contract/pr_contract.h"

static void nexus_open(struct scsi3pr_dev *dev, unsigned nexus, const char *name)
{
	const struct pr_transport *transport;
	char error[SCSI3PR_TEXT_MAX];
	void *ctx;
	int rc = -1;

	/* The server may need a moment. */
	for (int i = 0; i < 1000 && rc < 0; i++) {
		rc = target_open(nexus, &transport, &ctx, error);
		if (rc < 0)
			usleep(10000);
	}
	if (rc < 0) {
		fprintf(stderr, "%s\n", error);
		exit(99);
	}
	pr_dev_init(dev, transport, ctx, name, 10000);
}

int main(void)
{
	static struct scsi3pr_dev dev[3];
	struct pr_target target = { .name = "target on a socket", .a = &dev[0], .b = &dev[1],
				    .c = &dev[2], .has_abort = true, .has_aptpl = true };
	char dir[] = "/tmp/hf-target-XXXXXX", sock[64], log[64];
	unsigned failed;
	pid_t pid;

	if (!mkdtemp(dir))
		return 99;
	snprintf(sock, sizeof(sock), "%s/sock", dir);
	snprintf(log, sizeof(log), "%s/log", dir);
	setenv("HF_TEST_TARGET", sock, 1);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(target_serve(sock, log) < 0);
	}
	for (unsigned i = 0; i < 3; i++)
		nexus_open(&dev[i], i + 1, (const char *[]){ "a", "b", "c" }[i]);
	failed = pr_contract_run(&target);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(sock);
	unlink(log);
	rmdir(dir);
	printf("%u failed\n", failed);
	return failed != 0;
}
