/* SPDX-License-Identifier: GPL-2.0-or-later */
/* corosync.conf, node.json, whole files, paths of disks. */
#include "clusterd/check_linux.h"
#include "clusterd/corosync_conf.h"
#include "clusterd/node_file_jansson.h"
#include "clusterd/paths_linux.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/hf-files-XXXXXX", path[128];

static void test_corosync_conf(void)
{
	struct cd_conf conf = { .cluster = "prod", .token_ms = 3000, .n_nodes = 2 };
	char text[CD_COROSYNC_CONF_MAX], small[64];
	long len;

	for (unsigned i = 0; i < 2; i++) {
		conf.nodes[i].id = i + 1;
		conf.nodes[i].voter = i == 0;
		snprintf(conf.nodes[i].name, CL_NAME_MAX, "n%u", i + 1);
		snprintf(conf.nodes[i].address, CD_ADDRESS_MAX, "10.0.0.%u", i + 1);
	}
	len = cd_corosync_conf_write(&conf, text, sizeof(text));
	CU_ASSERT_EQUAL(len, (long)strlen(text));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "token: 3000\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "token_coefficient: 0\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "ring0_addr: 10.0.0.1\n\t\tquorum_votes: 1\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "ring0_addr: 10.0.0.2\n\t\tquorum_votes: 0\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "crypto_cipher: aes256\n"));
	CU_ASSERT_EQUAL(cd_corosync_conf_write(&conf, small, sizeof(small)), -EMSGSIZE);
	/* Sixteen nodes with the longest names fit. */
	conf.n_nodes = CL_NODES_MAX;
	for (unsigned i = 0; i < CL_NODES_MAX; i++) {
		memset(conf.nodes[i].name, 'n', CL_NAME_MAX - 1);
		memset(conf.nodes[i].address, '1', CD_ADDRESS_MAX - 1);
	}
	CU_ASSERT_TRUE(cd_corosync_conf_write(&conf, text, sizeof(text)) > 0);
}

static void test_node_file(void)
{
	static const char *const bad[] = {
		"", "{", "[]", "{\"node\":1}",
		"{\"node\":0,\"name\":\"n1\",\"address\":\"10.0.0.1\",\"cluster\":\"c\",\"uuid\":"
		"\"00000000-0000-4000-8000-000000000001\",\"token_ms\":3000}",
		"{\"node\":1,\"name\":\"../x\",\"address\":\"10.0.0.1\",\"cluster\":\"c\",\"uuid\":"
		"\"00000000-0000-4000-8000-000000000001\",\"token_ms\":3000}",
		"{\"node\":1,\"name\":\"n1\",\"address\":\"host\",\"cluster\":\"c\",\"uuid\":"
		"\"00000000-0000-4000-8000-000000000001\",\"token_ms\":3000}",
		"{\"node\":1,\"name\":\"n1\",\"address\":\"10.0.0.1\",\"cluster\":\"c\",\"uuid\":"
		"\"zz\",\"token_ms\":3000}",
		"{\"node\":1,\"name\":\"n1\",\"address\":\"10.0.0.1\",\"cluster\":\"c\",\"uuid\":"
		"\"00000000-0000-4000-8000-000000000001\",\"token_ms\":5}",
	};
	struct cd_node_file file = { .id = 3, .name = "n3", .address = "10.0.0.3",
				     .cluster = "prod", .uuid = { 1, 2, 3 }, .token_ms = 5000 },
			    back;
	char *error = NULL;
	struct stat st;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/node.json", dir);
	CU_ASSERT_EQUAL(cd_node_file_read(path, &back, &error), -ENOENT);
	CU_ASSERT_EQUAL(cd_node_file_write(path, &file), 0);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	CU_ASSERT_EQUAL_FATAL(cd_node_file_read(path, &back, &error), 0);
	CU_ASSERT_EQUAL(memcmp(&back, &file, sizeof(file)), 0);
	for (unsigned i = 0; i < CL_ARRAY_LEN(bad); i++) {
		CU_ASSERT_EQUAL(cd_file_write(path, 0600, bad[i], strlen(bad[i])), 0);
		CU_ASSERT_EQUAL(cd_node_file_read(path, &back, &error), -EBADMSG);
		CU_ASSERT_PTR_NOT_NULL_FATAL(error);
		CU_ASSERT_PTR_NOT_NULL(strstr(error, path));
		free(error);
	}
}

static void test_files(void)
{
	char *data = NULL;
	size_t len;

	snprintf(path, sizeof(path), "%s/file", dir);
	CU_ASSERT_EQUAL(cd_file_write(path, 0644, "abc", 3), 0);
	CU_ASSERT_EQUAL(cd_file_write(path, 0644, "defg", 4), 0);
	CU_ASSERT_EQUAL(cd_file_read(path, 3, &data, &len), -EFBIG);
	CU_ASSERT_EQUAL_FATAL(cd_file_read(path, 4, &data, &len), 0);
	CU_ASSERT_STRING_EQUAL(data, "defg");
	free(data);
	CU_ASSERT_EQUAL(cd_file_write("/nonexistent/x", 0644, "a", 1), -ENOENT);
	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	CU_ASSERT_EQUAL(cd_path_mkdirs(path, 0700), 0);
	CU_ASSERT_EQUAL(access(path, X_OK), 0);
}

static void test_disk_paths(void)
{
	static const char *const good[] = { "a.img", "a/b/c.img", "..a", ".hidden" };
	static const char *const bad[] = { "", "/", "/a", "a//b", "a/", "..", "../a", "a/../b", ".",
					   "a/./b", ".holdfast/save/x", "a\nb", "a\x7f" };

	for (unsigned i = 0; i < CL_ARRAY_LEN(good); i++)
		CU_ASSERT_TRUE(cd_check_path_valid(good[i]));
	for (unsigned i = 0; i < CL_ARRAY_LEN(bad); i++)
		CU_ASSERT_FALSE(cd_check_path_valid(bad[i]));
}

static void test_kernel(void)
{
	char error[256], *image = calloc(1, 4096);

	snprintf(path, sizeof(path), "%s/kernel", dir);
	CU_ASSERT_EQUAL(cd_check_kernel(path, error, sizeof(error)), -ENOENT);
	CU_ASSERT_EQUAL(cd_file_write(path, 0644, "hello", 5), 0);
	CU_ASSERT_EQUAL(cd_check_kernel(path, error, sizeof(error)), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "not a Linux kernel"));
	image[0x1fe] = 0x55;
	image[0x1ff] = (char)0xaa;
	memcpy(image + 0x202, "HdrS", 4);
	image[0x206] = 0x0f;
	image[0x207] = 0x02;
	CU_ASSERT_EQUAL(cd_file_write(path, 0644, image, 4096), 0);
	CU_ASSERT_EQUAL(cd_check_kernel(path, error, sizeof(error)), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "64-bit"));
	image[0x236] = 1;
	CU_ASSERT_EQUAL(cd_file_write(path, 0644, image, 4096), 0);
	CU_ASSERT_EQUAL(cd_check_kernel(path, error, sizeof(error)), 0);
	free(image);
}

UNIT_MAIN("files", { "corosync.conf", test_corosync_conf }, { "node.json", test_node_file },
	  { "files", test_files }, { "paths of disks", test_disk_paths }, { "kernel", test_kernel })
