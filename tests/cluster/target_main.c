/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target SOCKET LOG: a LUN on a socket; see target.h. */
#include "tests/cluster/target.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	int rc;

	if (argc != 3) {
		fprintf(stderr, "usage: target SOCKET LOG\n");
		return 2;
	}
	rc = target_serve(argv[1], argv[2]);
	fprintf(stderr, "target: %s\n", strerror(-rc));
	return 1;
}
