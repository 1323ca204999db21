/* SPDX-License-Identifier: MIT */
#include "export.h"
bool export_html(struct export *export)
{
	(void)export;
	return false;
}
