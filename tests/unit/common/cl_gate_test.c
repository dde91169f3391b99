/* SPDX-License-Identifier: GPL-2.0-or-later */
/* common/cl_gate.c: few of one origin, few in all, silence does not keep others out, one line and
 * no more. */
#include "common/cl_gate.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cl_tls.h"

static int pair[2];

static bool cut_off(void)
{
	struct pollfd p = { .fd = pair[1], .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void bounds(void)
{
	struct cl_gate gate;
	int a, b, c;

	CU_ASSERT_EQUAL_FATAL(cl_gate_init(&gate, 3, 2, 0), 0);
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	CU_ASSERT_TRUE((a = cl_gate_enter(&gate, 7, pair[0])) >= 0);
	CU_ASSERT_TRUE((b = cl_gate_enter(&gate, 7, pair[0])) >= 0);
	CU_ASSERT_EQUAL(cl_gate_enter(&gate, 7, pair[0]), -EAGAIN);
	CU_ASSERT_TRUE((c = cl_gate_enter(&gate, 8, pair[0])) >= 0);
	CU_ASSERT_EQUAL(cl_gate_enter(&gate, 9, pair[0]), -EAGAIN);
	/* No grace: nobody is cut off for others. */
	CU_ASSERT_FALSE(cut_off());
	cl_gate_leave(&gate, b);
	cl_gate_leave(&gate, -EAGAIN);
	CU_ASSERT_EQUAL(cl_gate_enter(&gate, 7, pair[0]), b);
	CU_ASSERT_EQUAL(cl_gate_enter(&gate, 9, pair[0]), -EAGAIN);
	cl_gate_leave(&gate, a);
	CU_ASSERT_TRUE(cl_gate_enter(&gate, 9, pair[0]) >= 0);
	CU_ASSERT_NOT_EQUAL(a, c);
	cl_gate_fini(&gate);
}

static void silence(void)
{
	struct cl_gate gate;
	int ticket;

	CU_ASSERT_EQUAL_FATAL(cl_gate_init(&gate, 2, 1, 1), 0);
	CU_ASSERT_TRUE((ticket = cl_gate_enter(&gate, 7, pair[0])) >= 0);
	usleep(5000);
	/* There is room for another origin: nothing is cut off.  For the same one there is not. */
	CU_ASSERT_TRUE(cl_gate_enter(&gate, 8, pair[1]) >= 0);
	CU_ASSERT_FALSE(cut_off());
	CU_ASSERT_EQUAL(cl_gate_enter(&gate, 7, pair[1]), -EAGAIN);
	CU_ASSERT_TRUE(cut_off());
	cl_gate_leave(&gate, ticket);
	CU_ASSERT_TRUE(cl_gate_enter(&gate, 7, pair[1]) >= 0);
	cl_gate_fini(&gate);
	close(pair[0]);
	close(pair[1]);
}

static void lines(void)
{
	struct cl_gate gate;
	unsigned more = 99;

	CU_ASSERT_EQUAL_FATAL(cl_gate_init(&gate, 1, 1, 0), 0);
	CU_ASSERT_TRUE(cl_gate_say(&gate, &more));
	CU_ASSERT_EQUAL(more, 0);
	CU_ASSERT_FALSE(cl_gate_say(&gate, &more));
	CU_ASSERT_FALSE(cl_gate_say(&gate, &more));
	gate.said_ms -= CL_GATE_SAY_MS;
	CU_ASSERT_TRUE(cl_gate_say(&gate, &more));
	CU_ASSERT_EQUAL(more, 2);
	cl_gate_fini(&gate);
}

static uint64_t who_connects(const char *address, char *text, size_t cap_bytes)
{
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
	int door = cl_tcp_listen("127.74.2.9", 7499), in, out = socket(AF_INET, SOCK_STREAM, 0);
	uint64_t who;

	CU_ASSERT_TRUE_FATAL(door >= 0);
	inet_pton(AF_INET, address, &from.sin_addr);
	inet_pton(AF_INET, "127.74.2.9", &to.sin_addr);
	to.sin_port = htons(7499);
	CU_ASSERT_EQUAL_FATAL(bind(out, (struct sockaddr *)&from, sizeof(from)), 0);
	CU_ASSERT_EQUAL_FATAL(connect(out, (struct sockaddr *)&to, sizeof(to)), 0);
	in = accept(door, NULL, NULL);
	CU_ASSERT_TRUE_FATAL(in >= 0 && out >= 0);
	who = cl_gate_address(in, text, cap_bytes);
	close(in);
	close(out);
	close(door);
	return who;
}

static void addresses(void)
{
	char text[64];
	uint64_t a = who_connects("127.74.2.1", text, sizeof(text));

	CU_ASSERT_STRING_EQUAL(text, "127.74.2.1");
	CU_ASSERT_EQUAL(who_connects("127.74.2.1", text, sizeof(text)), a);
	CU_ASSERT_NOT_EQUAL(who_connects("127.74.2.2", text, sizeof(text)), a);
	CU_ASSERT_EQUAL(cl_gate_address(-1, text, sizeof(text)), 0);
	CU_ASSERT_STRING_EQUAL(text, "?");
}

UNIT_MAIN("cl_gate", { "bounds", bounds }, { "silence", silence }, { "lines", lines },
	  { "addresses", addresses })
