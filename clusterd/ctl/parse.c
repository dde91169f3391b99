/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command line values; see parse.h. */
#include "clusterd/ctl/parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int digits(const char **p, uint64_t *ret_value)
{
	uint64_t v = 0;
	const char *start = *p;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (v > (UINT64_MAX - 9) / 10)
			return -ERANGE;
		v = v * 10 + (uint64_t)(**p - '0');
	}
	*ret_value = v;
	return *p == start ? -EINVAL : 0;
}

int ctl_size_parse(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "kmgt";
	const char *p = text, *unit;
	unsigned shift = 0;
	uint64_t v;
	int rc = digits(&p, &v);

	if (rc < 0)
		return rc;
	if (*p && (unit = strchr(units, *p | 0x20)) && *unit) {
		shift = 10u * (unsigned)(unit - units + 1);
		p++;
		if (p[0] == 'i' && p[1] == 'B')
			p += 2;
		else if (p[0] == 'B')
			p++;
	}
	if (*p)
		return -EINVAL;
	if (v > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = v << shift;
	return 0;
}

int ctl_period_parse(const char *text, uint64_t default_ms, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "ms", 1 },	 { "s", 1000 },	      { "m", 60000 },
		      { "h", 3600000 }, { "d", 86400000 } };
	uint64_t unit = default_ms, v;
	const char *p = text;
	int rc = digits(&p, &v);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; *p && i < CL_ARRAY_LEN(units); i++)
		if (strcmp(p, units[i].name) == 0) {
			unit = units[i].ms;
			p += strlen(p);
		}
	if (*p)
		return -EINVAL;
	if (v > INT64_MAX / unit)
		return -ERANGE;
	*ret_ms = v * unit;
	return 0;
}

int ctl_number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	const char *p = text;
	uint64_t v;
	int rc = digits(&p, &v);

	if (rc < 0 || *p)
		return rc < 0 ? rc : -EINVAL;
	if (v < min || v > max)
		return -ERANGE;
	*ret_value = v;
	return 0;
}

/* Copies [from, to) if it fits. */
static int part(char *out, size_t cap_bytes, const char *from, const char *to)
{
	size_t n = (size_t)(to - from);

	if (n >= cap_bytes)
		return -EINVAL;
	memcpy(out, from, n);
	out[n] = '\0';
	return 0;
}

int ctl_disk_parse(const char *text, struct ctl_disk *ret_disk, const char **ret_why)
{
	static const char mount[] = "/clusterstorage/";
	struct ctl_disk disk = { 0 };
	const char *slash, *comma;

	*ret_why = "expected VOLUME/PATH[,size=1G|,readonly]";
	if (strncmp(text, mount, sizeof(mount) - 1) == 0)
		text += sizeof(mount) - 1;
	slash = strchr(text, '/');
	comma = strrchr(text, ',');
	if (!slash || (comma && comma < slash))
		return -EINVAL;
	if (comma && strncmp(comma, ",size=", 6) == 0) {
		if (ctl_size_parse(comma + 6, &disk.size_bytes) < 0 || !disk.size_bytes) {
			*ret_why = "size: expected a number with k, M, G or T, as size=1G";
			return -EINVAL;
		}
		if (disk.size_bytes % 4096) {
			*ret_why = "size: expected a multiple of 4096 bytes";
			return -EINVAL;
		}
	} else if (comma && strcmp(comma, ",readonly") == 0) {
		disk.readonly = true;
	} else if (comma) {
		*ret_why = "after the comma: expected size=SIZE or readonly";
		return -EINVAL;
	} else {
		comma = text + strlen(text);
	}
	if (part(disk.volume, sizeof(disk.volume), text, slash) < 0 ||
	    !cl_name_valid(disk.volume)) {
		*ret_why = "the volume's name is not an allowed name";
		return -EINVAL;
	}
	if (part(disk.path, sizeof(disk.path), slash + 1, comma) < 0 || !disk.path[0]) {
		*ret_why = "the path is empty or too long (255 bytes)";
		return -EINVAL;
	}
	*ret_disk = disk;
	return 0;
}

static bool mac_valid(const char *text)
{
	if (strlen(text) != 17)
		return false;
	for (unsigned i = 0; i < 17; i++)
		if (i % 3 == 2 ? text[i] != ':' : !strchr("0123456789abcdefABCDEF", text[i]))
			return false;
	return !(strchr("13579bBdDfF", text[1]));
}

int ctl_net_parse(const char *text, struct ctl_net *ret_net, const char **ret_why)
{
	struct ctl_net net = { 0 };
	const char *comma = strchr(text, ',');

	*ret_why = "expected SWITCH[,mac=52:54:00:12:34:56]";
	if (comma && strncmp(comma, ",mac=", 5) != 0)
		return -EINVAL;
	if (comma && (!mac_valid(comma + 5) ||
		      part(net.mac, sizeof(net.mac), comma + 5, comma + strlen(comma)) < 0)) {
		*ret_why = "mac: expected six hex bytes as 52:54:00:12:34:56, not a group address";
		return -EINVAL;
	}
	if (!comma)
		comma = text + strlen(text);
	if (part(net.name, sizeof(net.name), text, comma) < 0 || !cl_name_valid(net.name)) {
		*ret_why = "the switch's name is not an allowed name";
		return -EINVAL;
	}
	*ret_net = net;
	return 0;
}

unsigned ctl_distance(const char *a, const char *b)
{
	unsigned rows[3][CTL_WORD_MAX + 1]; /* of the last three letters of a */
	size_t n = strlen(a), m = strlen(b);

	if (n > CTL_WORD_MAX || m > CTL_WORD_MAX)
		return CTL_WORD_MAX + 1;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned d = last[j - 1] + (a[i - 1] != b[j - 1]);

			d = last[j] + 1 < d ? last[j] + 1 : d;
			d = now[j - 1] + 1 < d ? now[j - 1] + 1 : d;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < d)
				d = before[j - 2] + 1;
			now[j] = d;
		}
	}
	return rows[n % 3][m];
}

bool ctl_near(const char *word, const char *other)
{
	size_t len = strlen(word);

	return len > 1 && ctl_distance(word, other) <= (len < 4 ? 1u : len < 8 ? 2u : 3u);
}

void ctl_size_text(uint64_t bytes, char *out, size_t cap_bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	uint64_t rest = 0;
	unsigned i = 0;

	while (bytes >= 1024 && i + 1 < CL_ARRAY_LEN(units)) {
		rest = bytes % 1024;
		bytes /= 1024;
		i++;
	}
	if (rest)
		snprintf(out, cap_bytes, "%llu.%llu %s", (unsigned long long)bytes,
			 (unsigned long long)(rest * 10 / 1024), units[i]);
	else
		snprintf(out, cap_bytes, "%llu %s", (unsigned long long)bytes, units[i]);
}
