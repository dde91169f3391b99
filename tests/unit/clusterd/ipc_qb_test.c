/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local service against its own client: answers at once and later, limits, a server that ends. */
#include "clusterd/ipc_qb.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CROWD 100u

static char service[64];
static qb_loop_t *loop;
static struct cd_ipc *ipc;
static struct cd_ipc_call *held;

static void later(void *arg)
{
	cd_ipc_reply(held, json_pack("{s:b s:s}", "ok", 1, "when", "later"));
}

static void handler(void *arg, struct cd_ipc_call *call, const json_t *request)
{
	const char *verb = json_string_value(json_object_get(request, "do"));
	qb_loop_timer_handle timer;

	if (verb && strcmp(verb, "echo") == 0) {
		cd_ipc_reply(call, json_pack("{s:b s:O}", "ok", 1, "say",
					     json_object_get(request, "say")));
	} else if (verb && strcmp(verb, "later") == 0) {
		held = call;
		qb_loop_timer_add(loop, QB_LOOP_MED, 200000000, NULL, later, &timer);
	} else if (verb && strcmp(verb, "big") == 0) {
		char *text = malloc(2 * CD_IPC_MSG_MAX);

		memset(text, 'x', 2 * CD_IPC_MSG_MAX - 1);
		text[2 * CD_IPC_MSG_MAX - 1] = '\0';
		cd_ipc_reply(call, json_pack("{s:s}", "text", text));
		free(text);
	} else if (verb && strcmp(verb, "end") == 0) {
		cd_ipc_reply(call, json_pack("{s:b}", "ok", 1));
		qb_loop_stop(loop);
	} else {
		cd_ipc_reply_error(call, ENOSYS, "verb '%s'", verb ? verb : "");
	}
}

static void *serve(void *arg)
{
	qb_loop_run(loop);
	return NULL;
}

static json_t *ask(struct cd_ipc_client *client, json_t *request)
{
	json_t *reply = NULL;

	CU_ASSERT_EQUAL_FATAL(cd_ipc_client_call(client, request, 60000, &reply), 0);
	json_decref(request);
	return reply;
}

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* Connects as nobody and says nothing; 0 when every connection was ended by the other side. */
static int nobody_crowds(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct pollfd p[CROWD];
	unsigned left = CROWD;

	if (setgid(65534) || setuid(65534))
		return 2;
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", service);
	for (unsigned i = 0; i < CROWD; i++) {
		p[i] = (struct pollfd){ .fd = socket(AF_UNIX, SOCK_STREAM, 0), .events = POLLIN };
		if (connect(p[i].fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			return 3;
	}
	for (int i = 0; i < 600 && left; i++) {
		left = 0;
		usleep(100000);
		if (poll(p, CROWD, 0) < 0)
			return 4;
		for (unsigned j = 0; j < CROWD; j++)
			left += !(p[j].revents & (POLLHUP | POLLIN));
	}
	return left ? 5 : 0;
}

/* Any user may connect to the socket: without a right to be here none keeps a descriptor of ours. */
static void a_crowd_at_the_door(void)
{
	unsigned before = descriptors();
	int status = -1;
	pid_t pid;

	if (geteuid())
		return; /* needs another user to be */
	pid = fork();
	if (pid == 0)
		_exit(nobody_crowds());
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_TRUE(descriptors() <= before);
}

static void test_all(void)
{
	struct cd_ipc_client *client = NULL, *second = NULL;
	pthread_t thread;
	json_t *reply, *request;
	char *text;

	snprintf(service, sizeof(service), "holdfast-test-%d", getpid());
	CU_ASSERT_EQUAL(cd_ipc_client_connect(service, &client), -ENOENT);
	loop = qb_loop_create();
	CU_ASSERT_EQUAL_FATAL(cd_ipc_new(loop, service, handler, NULL, &ipc), 0);
	pthread_create(&thread, NULL, serve, NULL);
	CU_ASSERT_EQUAL_FATAL(cd_ipc_client_connect(service, &client), 0);
	CU_ASSERT_EQUAL_FATAL(cd_ipc_client_connect(service, &second), 0);
	reply = ask(client, json_pack("{s:s s:s}", "do", "echo", "say", "h\xc3\xa9"));
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(reply, "say")), "h\xc3\xa9");
	json_decref(reply);
	reply = ask(client, json_pack("{s:s}", "do", "later"));
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(reply, "when")), "later");
	json_decref(reply);
	reply = ask(second, json_pack("{s:s}", "do", "nonsense"));
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(reply, "code")), "ENOSYS");
	json_decref(reply);
	reply = ask(second, json_pack("{s:s}", "do", "big"));
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(reply, "code")), "EMSGSIZE");
	json_decref(reply);
	/* Too long a request never leaves the client. */
	text = calloc(1, CD_IPC_REQUEST_MAX + 2);
	memset(text, 'y', CD_IPC_REQUEST_MAX + 1);
	request = json_pack("{s:s s:s}", "do", "echo", "say", text);
	CU_ASSERT_EQUAL(cd_ipc_client_call(client, request, 1000, &reply), -EMSGSIZE);
	json_decref(request);
	free(text);
	a_crowd_at_the_door();
	reply = ask(client, json_pack("{s:s s:s}", "do", "echo", "say", "still here"));
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(reply, "say")), "still here");
	json_decref(reply);
	json_decref(ask(client, json_pack("{s:s}", "do", "end")));
	pthread_join(thread, NULL);
	cd_ipc_client_free(client);
	cd_ipc_client_free(second);
	cd_ipc_free(ipc);
	qb_loop_destroy(loop);
}

UNIT_MAIN("ipc_qb", { "requests", test_all })
