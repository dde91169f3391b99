/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csv/local.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static struct csv_local_msg a, b;
static uint8_t buf[CSV_LOCAL_MAX];

static void there_and_back(void)
{
	long n;

	memset(&a, 0, sizeof(a));
	a = (struct csv_local_msg){.type = CSV_LOCAL_REPLY, .id = 7, .disk = 3, .rc = -ESTALE, .mode = 1,
				   .generation = 1ull << 40, .size = 99, .vm = "vm1", .secret = "00ff",
				   .volume = "v1", .path = "images/d"};
	n = csv_local_encode(&a, buf, sizeof(buf));
	CU_ASSERT_FATAL(n > 0);
	CU_ASSERT_EQUAL(csv_local_decode(buf, (size_t)n, &b), 0);
	CU_ASSERT(b.rc == -ESTALE && b.generation == 1ull << 40 && !strcmp(b.path, "images/d"));
	for (long i = 0; i < n; i++)
		CU_ASSERT_EQUAL(csv_local_decode(buf, (size_t)i, &b), -EBADMSG);
	memset(a.path, 'x', sizeof(a.path) - 1);
	CU_ASSERT(csv_local_encode(&a, buf, sizeof(buf)) > 4096);
	CU_ASSERT_EQUAL(csv_local_encode(&a, buf, 100), -EMSGSIZE);
}

static void refused(void)
{
	long n;

	memset(&a, 0, sizeof(a));
	a.type = CSV_LOCAL_COUNT;
	n = csv_local_encode(&a, buf, sizeof(buf));
	CU_ASSERT_EQUAL(csv_local_decode(buf, (size_t)n, &b), -EBADMSG);
	a.type = CSV_LOCAL_HELLO;
	a.rc = 5;
	n = csv_local_encode(&a, buf, sizeof(buf));
	CU_ASSERT_EQUAL(csv_local_decode(buf, (size_t)n, &b), -EBADMSG);
	a.rc = 0;
	n = csv_local_encode(&a, buf, sizeof(buf));
	buf[0] = 9;
	CU_ASSERT_EQUAL(csv_local_decode(buf, (size_t)n, &b), -EBADMSG);
}

UNIT_MAIN("local", {"there and back", there_and_back}, {"refused", refused})
