/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Join tokens: what is written is read, anything else is refused. */
#include "clusterd/token.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct cd_token sample(void)
{
	struct cd_token token = { .port = 7400, .cluster = "prod", .node = "n2", .issuer = "n1" };

	for (unsigned i = 0; i < sizeof(token.fingerprint); i++)
		token.fingerprint[i] = (uint8_t)(i * 7 + 1);
	for (unsigned i = 0; i < sizeof(token.secret); i++)
		token.secret[i] = (uint8_t)(255 - i);
	return token;
}

static void test_round_trip(void)
{
	struct cd_token token = sample(), back;
	char text[CD_TOKEN_TEXT_MAX];

	CU_ASSERT_EQUAL(cd_token_encode(&token, text), 0);
	CU_ASSERT_EQUAL(strncmp(text, "HF1-", 4), 0);
	CU_ASSERT_EQUAL(cd_token_decode(text, &back), 0);
	CU_ASSERT_EQUAL(memcmp(back.fingerprint, token.fingerprint, 32), 0);
	CU_ASSERT_EQUAL(memcmp(back.secret, token.secret, CD_TOKEN_SECRET_BYTES), 0);
	CU_ASSERT_EQUAL(back.port, 7400);
	CU_ASSERT_STRING_EQUAL(back.cluster, "prod");
	CU_ASSERT_STRING_EQUAL(back.node, "n2");
	CU_ASSERT_STRING_EQUAL(back.issuer, "n1");
}

static void test_longest(void)
{
	struct cd_token token = sample(), back;
	char text[CD_TOKEN_TEXT_MAX];

	memset(token.cluster, 'c', CL_NAME_MAX - 1);
	memset(token.node, 'n', CL_NAME_MAX - 1);
	memset(token.issuer, 'i', CL_NAME_MAX - 1);
	CU_ASSERT_EQUAL_FATAL(cd_token_encode(&token, text), 0);
	CU_ASSERT_EQUAL(cd_token_decode(text, &back), 0);
}

/* Each character changed, and each shorter text, is refused. */
static void test_damaged(void)
{
	struct cd_token token = sample(), back;
	char text[CD_TOKEN_TEXT_MAX], bad[CD_TOKEN_TEXT_MAX];
	size_t len;

	CU_ASSERT_EQUAL_FATAL(cd_token_encode(&token, text), 0);
	len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		strcpy(bad, text);
		bad[i] = bad[i] == 'A' ? 'B' : 'A';
		CU_ASSERT_EQUAL(cd_token_decode(bad, &back), -EBADMSG);
		strcpy(bad, text);
		bad[i] = '\0';
		CU_ASSERT_EQUAL(cd_token_decode(bad, &back), -EBADMSG);
	}
}

static void test_foreign(void)
{
	static const char *const texts[] = { "", "HF1-", "HF1-A", "HF2-AAAAAAAAAAA", "HF1-=====",
					     "hello", "HF1-\n", "HF1-AAAA AAAA" };
	char lots[4096];
	struct cd_token back;

	for (unsigned i = 0; i < CL_ARRAY_LEN(texts); i++)
		CU_ASSERT_EQUAL(cd_token_decode(texts[i], &back), -EBADMSG);
	memset(lots, 'A', sizeof(lots));
	memcpy(lots, "HF1-", 4);
	lots[sizeof(lots) - 1] = '\0';
	CU_ASSERT_EQUAL(cd_token_decode(lots, &back), -EBADMSG);
}

/* A clock that was set back gives a token no second life; one that was set forward ends it. */
static void test_expired(void)
{
	const int64_t given = 1800000000000, day = 86400000;
	const int64_t until = given + CD_TOKEN_LIFE_MS;
	const uint64_t until_boot = 5000 + CD_TOKEN_LIFE_MS;

	CU_ASSERT_FALSE(cd_token_expired(until, until_boot, given, 5000));
	CU_ASSERT_FALSE(cd_token_expired(until, until_boot, until, until_boot));
	CU_ASSERT_TRUE(cd_token_expired(until, until_boot, until + 1, 6000));
	CU_ASSERT_TRUE(cd_token_expired(until, until_boot, given - day, until_boot + 1));
	CU_ASSERT_TRUE(cd_token_expired(until, until_boot, 0, until_boot + 1));
	CU_ASSERT_FALSE(cd_token_expired(until, until_boot, given - day, 6000));
}

UNIT_MAIN("token", { "round trip", test_round_trip }, { "longest", test_longest }, { "damaged", test_damaged },
	  { "foreign", test_foreign }, { "expired", test_expired })
