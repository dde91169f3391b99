/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * corosync.conf; see corosync_conf.h.  Every value is a number or was checked
 * by cl_name_valid() or as a numeric address, so nothing needs quoting.  corosync's parser wants
 * a section's opening brace at the end of its line.
 */
#include "clusterd/corosync_conf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

struct text {
	char *data;
	size_t cap, len;
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *format, ...)
{
	size_t left = t->len < t->cap ? t->cap - t->len : 0;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(left ? t->data + t->len : NULL, left, format, ap);
	va_end(ap);
	t->len += n > 0 ? (size_t)n : 0;
}

long cd_corosync_conf_write(const struct cd_conf *conf, char *out, size_t cap_bytes)
{
	struct text t = { out, cap_bytes, 0 };

	put(&t, "# Written by Holdfast's clusterd; changes are overwritten.\n"
		"totem {\n\tversion: 2\n\tcluster_name: %s\n\ttransport: knet\n"
		"\tcrypto_cipher: aes256\n\tcrypto_hash: sha256\n"
		/* The same with any number of nodes: takeover_ms was chosen for it. */
		"\ttoken: %u\n\ttoken_coefficient: 0\n}\n",
	    conf->cluster, conf->token_ms);
	put(&t, "nodelist {\n");
	for (uint32_t i = 0; i < conf->n_nodes; i++)
		put(&t, "\tnode {\n\t\tname: %s\n\t\tnodeid: %u\n\t\tring0_addr: %s\n"
			"\t\tquorum_votes: %d\n\t}\n",
		    conf->nodes[i].name, conf->nodes[i].id, conf->nodes[i].address,
		    conf->nodes[i].voter);
	put(&t, "}\nquorum {\n\tprovider: corosync_votequorum\n}\n"
		"logging {\n\tto_stderr: no\n\tto_syslog: yes\n\tto_logfile: yes\n"
		"\tlogfile: /var/log/corosync/corosync.log\n\ttimestamp: on\n}\n");
	return t.len < cap_bytes ? (long)t.len : -EMSGSIZE;
}
