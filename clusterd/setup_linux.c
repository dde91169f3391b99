/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of a member; see setup_linux.h. */
#include "clusterd/setup_linux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "common/cl_cleanup.h"

static void secret_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void cd_setup_free(struct cd_setup *setup)
{
	if (!setup)
		return;
	free(setup->ca_cert);
	secret_free(setup->ca_key);
	cd_roles_free(setup->roles);
	explicit_bzero(setup->authkey, sizeof(setup->authkey));
	free(setup);
}

int cd_setup_create(struct cd_setup *setup)
{
	json_t *csrs = NULL, *certs = NULL;
	uint8_t *uuid = setup->self.uuid;
	int rc;

	cd_pki_random(uuid, CL_UUID_BYTES);
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	cd_pki_random(setup->authkey, sizeof(setup->authkey));
	rc = cd_pki_ca_create(setup->self.cluster, &setup->ca_key, &setup->ca_cert);
	if (rc == 0)
		rc = cd_roles_ask(setup->roles, setup->self.name, &csrs);
	if (rc == 0)
		rc = cd_roles_sign(csrs, setup->ca_key, setup->ca_cert, setup->self.name, &certs);
	if (rc == 0)
		rc = cd_roles_take(setup->roles, certs, setup->ca_cert, setup->self.name);
	json_decref(csrs);
	json_decref(certs);
	return rc;
}

static const char *const tls_files[] = { "ca.pem", "ca.key" };

static int tls_write(const struct cd_setup *setup)
{
	const char *const texts[] = { setup->ca_cert, setup->ca_key };
	char path[CD_PATH_MAX];
	int rc;

	cd_path(path, sizeof(path), CD_DIR_STATE, "tls");
	rc = cd_path_mkdirs(path, 0700);
	for (unsigned i = 0; i < CL_ARRAY_LEN(tls_files) && rc == 0; i++) {
		cd_path(path, sizeof(path), CD_DIR_STATE, "tls/%s", tls_files[i]);
		if (texts[i])
			rc = cd_file_write(path, 0600, texts[i], strlen(texts[i]));
		else
			unlink(path);
	}
	return rc < 0 ? rc : cd_roles_write(setup->roles);
}

static void state_forget(void)
{
	static const char *const files[] = { "state.db", "state.db-wal", "state.db-shm",
					     "tokens.json" };
	char path[CD_PATH_MAX];

	for (unsigned i = 0; i < CL_ARRAY_LEN(files); i++) {
		cd_path(path, sizeof(path), CD_DIR_STATE, "%s", files[i]);
		unlink(path);
	}
}

void cd_setup_undo(void)
{
	char path[CD_PATH_MAX];

	for (unsigned i = 0; i < CL_ARRAY_LEN(tls_files); i++) {
		cd_path(path, sizeof(path), CD_DIR_STATE, "tls/%s", tls_files[i]);
		unlink(path);
	}
	cd_roles_unlink();
	state_forget();
	cd_path(path, sizeof(path), CD_DIR_STATE, "node.json");
	unlink(path);
	cd_corosync_undo();
}

int cd_setup_apply(const struct cd_setup *setup, char *error, size_t cap_bytes)
{
	int rc;

	error[0] = '\0';
	state_forget();
	rc = cd_path_mkdirs(cd_path_dir(CD_DIR_STATE), 0700);
	if (rc == 0)
		rc = tls_write(setup);
	if (rc < 0)
		snprintf(error, cap_bytes, "%s: %s", cd_path_dir(CD_DIR_STATE), strerror(-rc));
	if (rc == 0) {
		rc = cd_corosync_write(&setup->conf, setup->authkey, sizeof(setup->authkey));
		if (rc < 0)
			snprintf(error, cap_bytes, "%s: %s", cd_path_dir(CD_DIR_COROSYNC),
				 strerror(-rc));
	}
	if (rc == 0)
		rc = cd_corosync_start(true, error, cap_bytes);
	if (rc < 0)
		cd_setup_undo();
	return rc;
}

int cd_setup_commit(const struct cd_setup *setup)
{
	char path[CD_PATH_MAX];

	cd_path(path, sizeof(path), CD_DIR_STATE, "node.json");
	return cd_node_file_write(path, &setup->self);
}

int cd_setup_node_name(char out[CL_NAME_MAX], char *error, size_t cap_bytes)
{
	char host[256] = "";

	if (gethostname(host, sizeof(host) - 1) < 0)
		return -errno;
	host[strcspn(host, ".")] = '\0';
	if (!cl_name_valid(host) || strcmp(host, "localhost") == 0) {
		snprintf(error, cap_bytes,
			 "the host name '%.64s' cannot be a node's name: set one of 1 to 63 letters,"
			 " digits, - . _ (not localhost)",
			 host);
		return -EINVAL;
	}
	snprintf(out, CL_NAME_MAX, "%.63s", host);
	return 0;
}

static bool bridge_like(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/net/%.32s/bridge", name);
	return access(path, F_OK) == 0 || strncmp(name, "hf", 2) == 0;
}

int cd_setup_address(const char *given, char out[CD_ADDRESS_MAX], char *error, size_t cap_bytes)
{
	struct ifaddrs *list, *ifa;
	char seen[256] = "", text[CD_ADDRESS_MAX];
	unsigned n = 0;
	size_t len = 0;

	if (getifaddrs(&list) < 0)
		return -errno;
	out[0] = '\0';
	for (ifa = list; ifa; ifa = ifa->ifa_next) {
		int family = ifa->ifa_addr ? ifa->ifa_addr->sa_family : 0;
		bool mine;

		if (family != AF_INET && family != AF_INET6)
			continue;
		if (getnameinfo(ifa->ifa_addr,
				family == AF_INET ? sizeof(struct sockaddr_in) :
						    sizeof(struct sockaddr_in6),
				text, sizeof(text), NULL, 0, NI_NUMERICHOST) ||
		    strchr(text, '%'))
			continue;
		mine = given[0] ? strcmp(given, text) == 0 :
				  family == AF_INET && !(ifa->ifa_flags & IFF_LOOPBACK) &&
					  !bridge_like(ifa->ifa_name);
		if (!(ifa->ifa_flags & IFF_LOOPBACK) && len < sizeof(seen))
			len += (size_t)snprintf(seen + len, sizeof(seen) - len, "%s%s",
						len ? ", " : "", text);
		if (!mine)
			continue;
		n++;
		snprintf(out, CD_ADDRESS_MAX, "%s", text);
		if (given[0])
			break;
	}
	freeifaddrs(list);
	if (n == 1)
		return 0;
	if (given[0])
		snprintf(error, cap_bytes, "--address %.60s is not an address of this node (%s)",
			 given, seen);
	else
		snprintf(error, cap_bytes,
			 "this node has %u addresses that could be the cluster's (%s): choose with"
			 " --address",
			 n, seen);
	return -EADDRNOTAVAIL;
}
