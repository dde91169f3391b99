/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cl_wire.h"
#include "common/cl_types.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static void round_trip(void)
{
	uint8_t buf[64];
	char text[16];
	struct cl_writer w;
	struct cl_reader r;
	long len;

	cl_writer_init(&w, buf, sizeof(buf));
	cl_write_u8(&w, 0xa5);
	cl_write_u16(&w, 0x1234);
	cl_write_u32(&w, 0xdeadbeef);
	cl_write_u64(&w, 0x0123456789abcdefull);
	cl_write_str(&w, "node-1");
	len = cl_writer_done(&w);
	CU_ASSERT_EQUAL_FATAL(len, 1 + 2 + 4 + 8 + 2 + 6);
	CU_ASSERT_EQUAL(buf[1], 0x34); /* little-endian */
	cl_reader_init(&r, buf, (size_t)len);
	CU_ASSERT_EQUAL(cl_read_u8(&r), 0xa5);
	CU_ASSERT_EQUAL(cl_read_u16(&r), 0x1234);
	CU_ASSERT_EQUAL(cl_read_u32(&r), 0xdeadbeef);
	CU_ASSERT_EQUAL(cl_read_u64(&r), 0x0123456789abcdefull);
	cl_read_str(&r, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "node-1");
	CU_ASSERT_EQUAL(cl_reader_done(&r), 0);
}

static void short_input_is_refused_at_each_cut(void)
{
	uint8_t buf[32];
	char text[16];
	struct cl_writer w;
	long len;

	cl_writer_init(&w, buf, sizeof(buf));
	cl_write_u32(&w, 7);
	cl_write_str(&w, "abc");
	len = cl_writer_done(&w);
	for (long cut = 0; cut < len; cut++) {
		struct cl_reader r;

		cl_reader_init(&r, buf, (size_t)cut);
		(void)cl_read_u32(&r);
		cl_read_str(&r, text, sizeof(text));
		CU_ASSERT_EQUAL(cl_reader_done(&r), -EBADMSG);
		CU_ASSERT_EQUAL(cl_reader_left(&r), 0);
	}
}

static void strings_are_bounded(void)
{
	static const uint8_t too_long[] = { 4, 0, 'a', 'b', 'c', 'd' };
	static const uint8_t with_nul[] = { 2, 0, 'a', 0 };
	char text[4];
	struct cl_reader r;

	cl_reader_init(&r, too_long, sizeof(too_long));
	cl_read_str(&r, text, sizeof(text));
	CU_ASSERT_EQUAL(cl_reader_done(&r), -EBADMSG);
	cl_reader_init(&r, with_nul, sizeof(with_nul));
	cl_read_str(&r, text, sizeof(text));
	CU_ASSERT_EQUAL(cl_reader_done(&r), -EBADMSG);
}

static void left_over_bytes_are_refused(void)
{
	struct cl_reader r;

	cl_reader_init(&r, "xyz", 3);
	(void)cl_read_u16(&r);
	CU_ASSERT_EQUAL(cl_reader_left(&r), 1);
	CU_ASSERT_EQUAL(cl_reader_done(&r), -EBADMSG);
}

static void huge_length_does_not_wrap(void)
{
	struct cl_reader r;

	cl_reader_init(&r, "xyz", 3);
	(void)cl_read_u8(&r);
	CU_ASSERT_PTR_NULL(cl_read_ref(&r, SIZE_MAX));
	CU_ASSERT_EQUAL(cl_reader_done(&r), -EBADMSG);
}

static void writer_refuses_what_does_not_fit(void)
{
	uint8_t buf[3];
	struct cl_writer w;

	cl_writer_init(&w, buf, sizeof(buf));
	cl_write_u32(&w, 1);
	cl_write_u8(&w, 1);
	CU_ASSERT_EQUAL(cl_writer_done(&w), -EMSGSIZE);
}

static void names(void)
{
	char name[CL_NAME_MAX + 1];

	CU_ASSERT_TRUE(cl_name_valid("vm-1.a_b"));
	CU_ASSERT_FALSE(cl_name_valid(""));
	CU_ASSERT_FALSE(cl_name_valid(NULL));
	CU_ASSERT_FALSE(cl_name_valid(".."));
	CU_ASSERT_FALSE(cl_name_valid("-rf"));
	CU_ASSERT_FALSE(cl_name_valid("a/b"));
	CU_ASSERT_FALSE(cl_name_valid("a\x1b[1m"));
	memset(name, 'a', sizeof(name));
	name[CL_NAME_MAX - 1] = '\0';
	CU_ASSERT_TRUE(cl_name_valid(name));
	name[CL_NAME_MAX - 1] = 'a';
	name[CL_NAME_MAX] = '\0';
	CU_ASSERT_FALSE(cl_name_valid(name));
}

static void checksums(void)
{
	/* RFC 3720 B.4: 32 bytes of zeros, and of ones */
	uint8_t zeros[32] = { 0 }, ones[32];

	memset(ones, 0xff, sizeof(ones));
	CU_ASSERT_EQUAL(cl_crc32c(0, zeros, sizeof(zeros)), 0x8a9136aau);
	CU_ASSERT_EQUAL(cl_crc32c(0, ones, sizeof(ones)), 0x62a8ab43u);
	CU_ASSERT_EQUAL(cl_crc32c(0, "123456789", 9), 0xe3069283u);
	CU_ASSERT_EQUAL(cl_crc32c(cl_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

UNIT_MAIN("cl_wire", { "round trip", round_trip },
	  { "short input is refused at each cut", short_input_is_refused_at_each_cut },
	  { "strings are bounded", strings_are_bounded },
	  { "left-over bytes are refused", left_over_bytes_are_refused },
	  { "a huge length does not wrap", huge_length_does_not_wrap },
	  { "the writer refuses what does not fit", writer_refuses_what_does_not_fit },
	  { "names", names }, { "checksums", checksums })
