/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config export, import, check.  The file is read and checked here, so that `check` needs no cluster; clusterd
 * checks again and names what it refuses by its place in the document, which is found in the text here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clusterd/config_at.h"
#include "clusterd/config_jansson.h"
#include "clusterd/ctl/ctl.h"

#define IMPORT_MS 300000

struct file {
	const char *name;
	char *text;
	size_t len_bytes;
	json_t *root;
};

static void file_free(struct file *file)
{
	json_decref(file->root);
	free(file->text);
}

int ctl_config_export(struct ctl *ctl)
{
	json_t *reply = NULL;
	int rc = ctl_call(ctl, json_pack("{s:s}", "do", "config-export"), IMPORT_MS, &reply);

	if (rc != CTL_OK)
		return rc;
	rc = json_dumpf(json_object_get(reply, "config"), stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
	putchar('\n');
	json_decref(reply);
	return rc < 0 || fflush(stdout) ? CTL_FAILED : CTL_OK;
}

/* One line a problem, or all of them as JSON. */
static int problems_show(const struct ctl *ctl, const struct file *file, const json_t *problems)
{
	json_t *list = json_array();
	const json_t *problem;
	size_t i;

	json_array_foreach(problems, i, problem) {
		unsigned line, column;

		cd_config_at(file->text, file->len_bytes, ctl_text(problem, "path"), &line, &column);
		if (!ctl->json)
			fprintf(stderr, "%s:%u:%u: %s\n", file->name, line, column,
				ctl_text(problem, "text"));
		json_array_append_new(list, json_pack("{s:s s:i s:i s:s s:s}", "file", file->name,
						      "line", (int)line, "column", (int)column, "path",
						      ctl_text(problem, "path"), "error",
						      ctl_text(problem, "text")));
	}
	if (ctl->json)
		ctl_json(json_pack("{s:b s:s s:s s:o}", "ok", 0, "code", "EINVAL", "error",
				   "the configuration is not good; nothing was changed", "problems", list));
	else
		json_decref(list);
	return CTL_FAILED;
}

static int file_read(struct ctl *ctl, struct file *file)
{
	FILE *f = fopen(file->name, "re");
	json_error_t error;
	json_t *list;
	int rc;

	if (!f)
		return ctl_error(ctl, CTL_FAILED, "ENOENT", "%s: %s", file->name, strerror(errno));
	file->text = calloc(1, CD_CONFIG_FILE_MAX + 1);
	if (!file->text)
		abort();
	file->len_bytes = fread(file->text, 1, CD_CONFIG_FILE_MAX + 1, f);
	rc = ferror(f) ? errno : 0;
	fclose(f);
	if (rc)
		return ctl_error(ctl, CTL_FAILED, "EIO", "%s: %s", file->name, strerror(rc));
	if (file->len_bytes > CD_CONFIG_FILE_MAX)
		return ctl_error(ctl, CTL_FAILED, "EFBIG", "%s: allowed are files of up to %u KiB",
				 file->name, CD_CONFIG_FILE_MAX >> 10);
	file->root = json_loadb(file->text, file->len_bytes, JSON_REJECT_DUPLICATES, &error);
	if (file->root)
		return CTL_OK;
	if (!ctl->json) {
		fprintf(stderr, "%s:%d:%d: %s\n", file->name, error.line, error.column, error.text);
		return CTL_FAILED;
	}
	list = json_pack("[{s:s s:i s:i s:s}]", "file", file->name, "line", error.line, "column",
			 error.column, "error", error.text);
	ctl_json(json_pack("{s:b s:s s:s s:o}", "ok", 0, "code", "EBADMSG", "error",
			   "the file is not JSON; nothing was changed", "problems", list));
	return CTL_FAILED;
}

/* Reads the file and checks what can be checked without a cluster. */
static int file_check(struct ctl *ctl, struct file *file, char *ret_text, size_t cap_bytes)
{
	json_t *problems = json_array();
	struct cd_config *config;
	int rc = file_read(ctl, file);

	if (rc == CTL_OK) {
		config = cd_config_read(file->root, NULL);
		for (unsigned i = 0; i < config->problem_count; i++)
			json_array_append_new(problems,
					      json_pack("{s:s s:s}", "path", config->problems[i].path,
							"text", config->problems[i].text));
		snprintf(ret_text, cap_bytes, "%s: good: %u nodes, %u volumes, %u VMs", file->name,
			 config->n_nodes, config->n_volumes, config->n_vms);
		if (config->problem_count)
			rc = problems_show(ctl, file, problems);
		cd_config_free(config);
	}
	json_decref(problems);
	return rc;
}

int ctl_config_check(struct ctl *ctl)
{
	struct file file = { .name = ctl->argv[0] };
	char text[512];
	int rc = file_check(ctl, &file, text, sizeof(text));

	if (rc == CTL_OK && ctl->json)
		ctl_json(json_pack("{s:b s:s}", "ok", 1, "text", text));
	else if (rc == CTL_OK)
		printf("%s\n", text);
	file_free(&file);
	return rc;
}

static int import_show(const struct ctl *ctl, const struct file *file, json_t *reply)
{
	const json_t *line;
	size_t i;

	if (json_array_size(json_object_get(reply, "problems")))
		return problems_show(ctl, file, json_object_get(reply, "problems"));
	if (ctl->json)
		return ctl_json(json_incref(reply));
	if (ctl->plan)
		printf("plan, nothing is done:\n");
	json_array_foreach(json_object_get(reply, "changes"), i, line)
		printf("  %s\n", json_string_value(line));
	if (!json_array_size(json_object_get(reply, "changes")))
		printf("the cluster is as the file says\n");
	else
		printf("%s%s\n", ctl->plan ? "would be: " : "", ctl_text(reply, "text"));
	return CTL_OK;
}

int ctl_config_import(struct ctl *ctl)
{
	struct file file = { .name = ctl->argv[0] };
	json_t *reply = NULL;
	char text[512];
	int rc = file_check(ctl, &file, text, sizeof(text));

	if (rc == CTL_OK)
		rc = ctl_call(ctl,
			      json_pack("{s:s s:O s:b}", "do", "config-import", "config", file.root,
					"plan", ctl->plan),
			      IMPORT_MS, &reply);
	if (rc == CTL_OK)
		rc = import_show(ctl, &file, reply);
	json_decref(reply);
	file_free(&file);
	return rc;
}
