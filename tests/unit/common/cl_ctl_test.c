/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control protocol against itself and against clients that misbehave. */
#include "common/cl_ctl.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 30000

static char socket_path[64];
static struct cl_ctl_server *server;
static pthread_t thread;
static volatile bool stop;

static void handler(void *arg, struct cl_ctl_request req, const char *verb, const json_t *msg,
		    uid_t uid, pid_t pid)
{
	if (!strcmp(verb, "echo")) {
		json_t *say = json_object_get(msg, "say");

		cl_ctl_event(server, json_pack("{s:s}", "event", "before"));
		cl_ctl_reply(server, req, json_pack("{s:O, s:i}", "say", say, "uid", (int)uid));
	} else if (!strcmp(verb, "never")) {
		return;
	} else {
		cl_ctl_reply_error(server, req, EINVAL, "verb %s: not known here", verb);
	}
}

static void *serve(void *arg)
{
	while (!stop) {
		struct pollfd pfd = { .fd = cl_ctl_server_fd(server), .events = POLLIN };

		(void)poll(&pfd, 1, 50);
		cl_ctl_server_service(server);
	}
	return NULL;
}

static void start(void)
{
	(void)snprintf(socket_path, sizeof(socket_path), "/tmp/cl_ctl_test.%d", (int)getpid());
	CU_ASSERT_EQUAL_FATAL(cl_ctl_server_new(socket_path, 0600, handler, NULL, &server), 0);
	stop = false;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, serve, NULL), 0);
}

static void finish(void)
{
	stop = true;
	pthread_join(thread, NULL);
	cl_ctl_server_free(server);
	CU_ASSERT_NOT_EQUAL(access(socket_path, F_OK), 0);
}

static void call_and_event(void)
{
	struct cl_ctl_client *client = NULL;
	json_t *result = NULL, *event;

	start();
	CU_ASSERT_EQUAL_FATAL(cl_ctl_client_connect(socket_path, &client), 0);
	CU_ASSERT_EQUAL(cl_ctl_client_call(client, "echo", json_pack("{s:s}", "say", "hi"),
					   WAIT_MS, &result, NULL), 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(result, "say")), "hi");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(result, "uid")), (int)getuid());
	json_decref(result);
	event = cl_ctl_client_event(client, WAIT_MS);
	CU_ASSERT_PTR_NOT_NULL(event);
	json_decref(event);
	cl_ctl_client_free(client);
	finish();
}

static void errors_have_a_name_and_a_text(void)
{
	struct cl_ctl_client *client = NULL;
	char *error = NULL;

	start();
	CU_ASSERT_EQUAL_FATAL(cl_ctl_client_connect(socket_path, &client), 0);
	CU_ASSERT_EQUAL(cl_ctl_client_call(client, "fly", NULL, WAIT_MS, NULL, &error), -EINVAL);
	CU_ASSERT_STRING_EQUAL(error, "verb fly: not known here");
	free(error);
	CU_ASSERT_EQUAL(cl_ctl_client_call(client, "never", NULL, 50, NULL, NULL), -ETIMEDOUT);
	/* a call after a timeout still gets its own reply */
	CU_ASSERT_EQUAL(cl_ctl_client_call(client, "echo", json_pack("{s:i}", "say", 1), WAIT_MS,
					   NULL, NULL), 0);
	cl_ctl_client_free(client);
	finish();
}

static int raw_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, socket_path);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static bool is_disconnected(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&pfd, 1, WAIT_MS) == 1 && recv(fd, &c, 1, 0) <= 0;
}

static void bad_bytes_disconnect_only_that_client(void)
{
	static const char *const bad[] = { "hello\n", "[1]\n", "{\"id\":1}\n",
					   "{\"id\":\"x\",\"do\":\"echo\"}\n", "{\"do\":\"echo\"\n" };
	struct cl_ctl_client *client = NULL;

	start();
	CU_ASSERT_EQUAL_FATAL(cl_ctl_client_connect(socket_path, &client), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = raw_connect();

		CU_ASSERT_EQUAL(send(fd, bad[i], strlen(bad[i]), MSG_NOSIGNAL),
				(ssize_t)strlen(bad[i]));
		CU_ASSERT_TRUE(is_disconnected(fd));
		close(fd);
	}
	CU_ASSERT_EQUAL(cl_ctl_client_call(client, "echo", json_pack("{s:i}", "say", 1), WAIT_MS,
					   NULL, NULL), 0);
	cl_ctl_client_free(client);
	finish();
}

static void an_endless_line_is_cut(void)
{
	static char junk[65536];
	ssize_t n = 1;
	size_t total = 0;
	int fd;

	start();
	memset(junk, 'x', sizeof(junk));
	fd = raw_connect();
	while (n > 0 && total < 8u * CL_CTL_LINE_MAX) {
		n = send(fd, junk, sizeof(junk), MSG_NOSIGNAL);
		total += n > 0 ? (size_t)n : 0;
	}
	CU_ASSERT_TRUE(total < 8u * CL_CTL_LINE_MAX);
	close(fd);
	finish();
}

static void a_second_server_is_refused(void)
{
	struct cl_ctl_server *second;

	start();
	CU_ASSERT_EQUAL(cl_ctl_server_new(socket_path, 0600, handler, NULL, &second), -EADDRINUSE);
	finish();
}

UNIT_MAIN("cl_ctl", { "call and event", call_and_event },
	  { "errors have a name and a text", errors_have_a_name_and_a_text },
	  { "bad bytes disconnect only that client", bad_bytes_disconnect_only_that_client },
	  { "an endless line is cut", an_endless_line_is_cut },
	  { "a second server is refused", a_second_server_is_refused })
