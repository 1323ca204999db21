/* SPDX-License-Identifier: MIT */
/*
 * export_page.h - the template of the page of `kmem export --html`, which page/embed.py puts into
 * C; compressed, as zlib does it.
 */
#ifndef KMEM_EXPORT_PAGE_H
#define KMEM_EXPORT_PAGE_H

#include <stddef.h>

extern const unsigned char export_page[];
extern const size_t export_page_bytes;	  /* 0: kmem was built without */
extern const size_t export_page_unpacked; /* its bytes */

#endif
