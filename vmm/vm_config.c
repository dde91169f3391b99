/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads and checks the configuration file.  A member that is unknown is warned of and
 * ignored, so that a newer clusterd can start an older vmm; everything known is checked before
 * anything is done.
 */
#include "vmm/vm_config.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cl_log.h"
#include "vmm/text.h"

/* What is being read, for messages. */
struct reader {
	const char *path;
	const char *where; /* "", "disks[1]." */
	json_t *object;
	char **ret_error;
};

static int refuse(const struct reader *r, const char *field, const char *seen, const char *allowed)
{
	return vmm_error(r->ret_error, EINVAL, "%s: %s%s: %s; allowed: %s", r->path, r->where, field,
			 seen, allowed);
}

static int refuse_value(const struct reader *r, const char *field, const json_t *v,
			const char *allowed)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	char seen[80];
	int e;

	(void)snprintf(seen, sizeof(seen), "%.70s", text ? text : "?");
	e = refuse(r, field, seen, allowed);
	free(text);
	return e;
}

static int uint_get(const struct reader *r, const char *field, uint64_t min, uint64_t max,
		    bool required, uint64_t *ret_v)
{
	const json_t *v = json_object_get(r->object, field);
	char allowed[80];

	(void)snprintf(allowed, sizeof(allowed), "an integer from %llu to %llu",
		       (unsigned long long)min, (unsigned long long)max);
	if (!v)
		return required ? refuse(r, field, "missing", allowed) : 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) < min || (uint64_t)json_integer_value(v) > max)
		return refuse_value(r, field, v, allowed);
	*ret_v = (uint64_t)json_integer_value(v);
	return 0;
}

/* out keeps what it has if the field is not there and not required. */
static int str_get(const struct reader *r, const char *field, bool required, char *out,
		   size_t cap_bytes)
{
	const json_t *v = json_object_get(r->object, field);
	char allowed[80];

	(void)snprintf(allowed, sizeof(allowed), "a string of 1 to %zu bytes", cap_bytes - 1);
	if (!v || json_is_null(v))
		return required ? refuse(r, field, "missing", allowed) : 0;
	if (!json_is_string(v) || json_string_length(v) >= cap_bytes ||
	    strlen(json_string_value(v)) != json_string_length(v) ||
	    (required && json_string_length(v) == 0))
		return refuse_value(r, field, v, allowed);
	strcpy(out, json_string_value(v));
	return 0;
}

static int path_get(const struct reader *r, const char *field, bool required, char *out,
		    size_t cap_bytes)
{
	int e = str_get(r, field, required, out, cap_bytes);

	if (e == 0 && out[0] && out[0] != '/')
		return refuse(r, field, out, "an absolute path");
	return e;
}

static int name_get(const struct reader *r, const char *field, bool required, char *out)
{
	int e = str_get(r, field, required, out, CL_NAME_MAX);

	if (e == 0 && out[0] && !cl_name_valid(out))
		return refuse(r, field, "not a name",
			      "1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit");
	return e;
}

static void unknown_warn(const struct reader *r, const char *const *known)
{
	const char *key;
	json_t *v;

	json_object_foreach(r->object, key, v) {
		bool found = false;

		for (unsigned i = 0; known[i]; i++)
			found = found || !strcmp(known[i], key);
		if (!found)
			cl_warning("%s: %s%s: unknown, ignored", r->path, r->where, key);
	}
}

/* A path on a volume goes to csvd; it stays below the volume's root. */
static bool volume_path_ok(const char *path)
{
	for (const char *p = path; *p; p++) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += n;
		if (!*p)
			return true;
	}
	return false;
}

static int bool_get(const struct reader *r, const char *field, bool *ret_v)
{
	const json_t *v = json_object_get(r->object, field);

	if (v && !json_is_boolean(v))
		return refuse_value(r, field, v, "true or false");
	*ret_v = json_is_true(v);
	return 0;
}

static int disk_get(const struct reader *r, struct vmm_config_disk *d)
{
	static const char *const known[] = { "volume", "path", "file", "size", "readonly", NULL };
	bool file = json_object_get(r->object, "file"),
	     volume = json_object_get(r->object, "volume");
	int e;

	unknown_warn(r, known);
	e = bool_get(r, "readonly", &d->readonly);
	if (e < 0)
		return e;
	if (file == volume)
		return refuse(r, "file", file ? "both file and volume" : "neither file nor volume",
			      "{\"volume\", \"path\"} or {\"file\"}");
	if (file)
		return path_get(r, "file", true, d->file, sizeof(d->file));
	e = name_get(r, "volume", true, d->volume);
	if (e == 0)
		e = str_get(r, "path", true, d->path, sizeof(d->path));
	if (e == 0 && !volume_path_ok(d->path))
		return refuse(r, "path", d->path, "a path on the volume, without leading /, . or ..");
	return e;
}

static bool mac_parse(const char *text, uint8_t mac[6])
{
	unsigned b[6];
	int end = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6 ||
	    end != 17 || text[17])
		return false;
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return !(mac[0] & 1) && memcmp(mac, "\0\0\0\0\0", 6) != 0;
}

static int net_get(const struct reader *r, struct vmm_config_net *n)
{
	static const char *const known[] = { "tap", "bridge", "mac", "switch", NULL };
	char mac[32] = "";
	int e = str_get(r, "tap", true, n->tap, sizeof(n->tap));

	unknown_warn(r, known);
	if (e == 0)
		e = str_get(r, "bridge", false, n->bridge, sizeof(n->bridge));
	if (e == 0)
		e = str_get(r, "mac", true, mac, sizeof(mac));
	if (e == 0 && !mac_parse(mac, n->mac))
		return refuse(r, "mac", mac,
			      "a unicast address as 52:54:00:12:34:56, not all zeros");
	if (e == 0 && (strchr(n->tap, '/') || strchr(n->tap, ' ') || strchr(n->tap, '%')))
		return refuse(r, "tap", n->tap, "the name of a network interface");
	return e;
}

/* Calls get on each object of an array; which 0: disk, 1: net. */
static int array_get(const struct reader *r, const char *field, struct vmm_config *c, unsigned max,
		     unsigned *ret_n)
{
	json_t *array = json_object_get(r->object, field), *v;
	char where[32], allowed[64];
	size_t i;

	*ret_n = 0;
	if (!array)
		return 0;
	(void)snprintf(allowed, sizeof(allowed), "an array of at most %u objects", max);
	if (!json_is_array(array) || json_array_size(array) > max)
		return refuse_value(r, field, array, allowed);
	json_array_foreach(array, i, v) {
		struct reader sub = { r->path, where, v, r->ret_error };
		int e;

		(void)snprintf(where, sizeof(where), "%s[%zu].", field, i);
		if (!json_is_object(v))
			return refuse_value(r, field, v, allowed);
		e = field[0] == 'd' ? disk_get(&sub, &c->disks[i]) : net_get(&sub, &c->nets[i]);
		if (e < 0)
			return e;
		(*ret_n)++;
	}
	return 0;
}

static bool disk_same(const struct vmm_config_disk *a, const struct vmm_config_disk *b)
{
	return strcmp(a->file, b->file) == 0 && strcmp(a->volume, b->volume) == 0 &&
	       strcmp(a->path, b->path) == 0;
}

/* What one VM may have but once.  Two names of one file are found when they are opened. */
static int unique_check(const struct reader *r, const struct vmm_config *c)
{
	for (unsigned i = 0; i < c->n_disks; i++) {
		for (unsigned k = 0; k < i; k++) {
			char field[32];

			(void)snprintf(field, sizeof(field), "disks[%u]", i);
			if (disk_same(&c->disks[i], &c->disks[k]))
				return refuse(r, field,
					      c->disks[i].file[0] ? c->disks[i].file
								  : c->disks[i].path,
					      "each file once in a VM");
		}
	}
	for (unsigned i = 0; i < c->n_nets; i++) {
		for (unsigned k = 0; k < i; k++) {
			const uint8_t *m = c->nets[i].mac;
			char field[32], seen[32];

			(void)snprintf(field, sizeof(field), "nets[%u].mac", i);
			(void)snprintf(seen, sizeof(seen), "%02x:%02x:%02x:%02x:%02x:%02x", m[0],
				       m[1], m[2], m[3], m[4], m[5]);
			if (memcmp(m, c->nets[k].mac, 6) == 0)
				return refuse(r, field, seen, "each address once in a VM");
			(void)snprintf(field, sizeof(field), "nets[%u].tap", i);
			if (strcmp(c->nets[i].tap, c->nets[k].tap) == 0)
				return refuse(r, field, c->nets[i].tap,
					      "each interface once in a VM");
		}
	}
	return 0;
}

static int numbers_get(const struct reader *r, struct vmm_config *c)
{
	uint64_t memory = 0, cpus = 1, uid = 0, downtime = 300;
	int e = uint_get(r, "generation", 0, INT64_MAX, false, &c->generation);

	if (e == 0)
		e = uint_get(r, "memory_mib", VMM_MEMORY_MIB_MIN, VMM_MEMORY_MIB_MAX, true, &memory);
	if (e == 0)
		e = uint_get(r, "cpus", 1, VMM_CPUS_MAX, true, &cpus);
	if (e == 0)
		e = uint_get(r, "uid", 0, UINT32_MAX - 1, false, &uid);
	if (e == 0)
		e = uint_get(r, "downtime_ms", 1, 60000, false, &downtime);
	if (e == 0)
		e = uint_get(r, "stopped_since_ms", 0, INT64_MAX / 1000000, false,
			     &c->stopped_since_ms);
	c->memory_mib = (unsigned)memory;
	c->cpus = (unsigned)cpus;
	c->uid = (uid_t)uid;
	c->downtime_ms = (unsigned)downtime;
	return e;
}

static int strings_get(const struct reader *r, struct vmm_config *c)
{
	int e = name_get(r, "name", true, c->name);

	if (e == 0)
		e = str_get(r, "uuid", false, c->uuid, sizeof(c->uuid));
	if (e == 0)
		e = path_get(r, "kernel", true, c->kernel, sizeof(c->kernel));
	if (e == 0)
		e = path_get(r, "initrd", false, c->initrd, sizeof(c->initrd));
	if (e == 0)
		e = str_get(r, "append", false, c->append, sizeof(c->append));
	if (e == 0)
		e = path_get(r, "run_dir", true, c->run_dir, sizeof(c->run_dir));
	if (e == 0)
		e = path_get(r, "lease", false, c->lease, sizeof(c->lease));
	return e;
}

static int config_get(const struct reader *r, struct vmm_config *c)
{
	static const char *const known[] = { "name",
					     "uuid",
					     "generation",
					     "memory_mib",
					     "cpus",
					     "kernel",
					     "initrd",
					     "append",
					     "uid",
					     "disks",
					     "nets",
					     "run_dir",
					     "downtime_ms",
					     "paused",
					     "stopped_since_ms",
					     "lease",
					     NULL };
	int e;

	if (!json_is_object(r->object))
		return refuse(r, "(top)", "not an object", "a JSON object, see vmm(8)");
	unknown_warn(r, known);
	e = strings_get(r, c);
	if (e == 0)
		e = numbers_get(r, c);
	if (e == 0)
		e = array_get(r, "disks", c, VMM_DISKS_MAX, &c->n_disks);
	if (e == 0)
		e = array_get(r, "nets", c, VMM_NETS_MAX, &c->n_nets);
	if (e == 0)
		e = bool_get(r, "paused", &c->paused);
	return e < 0 ? e : unique_check(r, c);
}

int vmm_config_load(const char *path, struct vmm_config **ret_config, char **ret_error)
{
	struct vmm_config *c = calloc(1, sizeof(*c));
	json_error_t error;
	struct reader r = { path, "", NULL, ret_error };
	int e;

	if (!c)
		return vmm_error(ret_error, ENOMEM, "%s: out of memory", path);
	r.object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!r.object) {
		if (error.line < 0)
			e = vmm_error(ret_error, ENOENT, "%s", error.text);
		else
			e = vmm_error(ret_error, EINVAL, "%s: line %d: %s", path, error.line,
				      error.text);
	} else {
		e = config_get(&r, c);
	}
	json_decref(r.object);
	if (e < 0)
		vmm_config_free(c);
	else
		*ret_config = c;
	return e;
}

void vmm_config_free(struct vmm_config *config)
{
	free(config);
}
