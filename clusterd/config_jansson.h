/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cluster's configuration as a JSON document (docs/formats/config.md): written, and read with every mistake
 * named by where it is, what was seen and what is allowed.  Needs no cluster; with one, names that the
 * document leaves out are looked up there.
 */
#ifndef CD_CONFIG_JANSSON_H
#define CD_CONFIG_JANSSON_H

#include <jansson.h>

#include "clusterd/core/core.h"

#define CD_CONFIG_FORMAT       "holdfast-config"
#define CD_CONFIG_VERSION      1
#define CD_CONFIG_PROBLEMS_MAX 20u
#define CD_CONFIG_FILE_MAX     (900u << 10) /* bytes; a request to clusterd must hold it */

struct cd_config_problem {
	char path[128]; /* "vms[3].memory_mib": for cd_config_at() */
	char text[512];
};

struct cd_config_vm {
	unsigned index; /* in the document */
	struct core_vm_config config;
	char volume_names[CORE_DISKS_MAX][CL_NAME_MAX];
	bool has_uuid, has_mac[CORE_NETS_MAX];
	struct core_vm_policy policy;
	uint32_t policy_set;
};

/* Made by cd_config_read(); cd_config_free(). */
struct cd_config {
	unsigned problem_count;
	struct cd_config_problem problems[CD_CONFIG_PROBLEMS_MAX];
	char cluster[CL_NAME_MAX]; /* "" if the document does not name it */
	uint8_t uuid[CL_UUID_BYTES];
	bool has_uuid;
	struct core_command *settings; /* sets only */
	unsigned n_nodes, n_volumes, n_vms;
	struct core_state *named; /* nodes and volumes as the document has them */
	struct cd_config_vm *vms; /* in the order of their names */
};

/* Problems are in the result. cluster may be NULL. */
struct cd_config *cd_config_read(const json_t *root, const struct core_state *cluster);
void cd_config_free(struct cd_config *config);
void cd_config_problem(struct cd_config *config, const char *path, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The whole configuration, sorted: the same state gives the same document. */
json_t *cd_config_write(const struct core_state *st);
/* A VM's nets as they are in the document and in `vm show`: [{switch, mac}]. */
json_t *cd_config_nets(const struct core_vm_config *config);

#endif
