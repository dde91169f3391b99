/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int vmm_error(char **ret_error, int err, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (ret_error) {
		free(*ret_error);
		*ret_error = text;
	} else {
		free(text);
	}
	return -err;
}
