/* SPDX-License-Identifier: MIT */
/* texts.c - texts, each of them once; by json-c's hash table. */
#include "texts.h"

#include "say.h"

#include <json-c/linkhash.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct texts {
	struct lh_table *numbers;
	char **text;
	size_t count, room;
};

struct texts *texts_new(void)
{
	struct texts *texts = xcalloc(1, sizeof(*texts));

	texts->numbers = lh_kchar_table_new(256, NULL);
	if (!texts->numbers)
		give_up("no memory");
	return texts;
}

void texts_free(struct texts *texts)
{
	lh_table_free(texts->numbers);
	for (size_t i = 0; i < texts->count; i++)
		free(texts->text[i]);
	free(texts->text);
	free(texts);
}

size_t texts_number(struct texts *texts, const char *text)
{
	char *copy = utf8_copy(text);
	void *number;

	if (lh_table_lookup_ex(texts->numbers, copy, &number)) {
		free(copy);
		return (size_t)(uintptr_t)number;
	}
	if (texts->count == texts->room) {
		texts->room = texts->room * 2 + 64;
		texts->text = xrealloc(texts->text, texts->room * sizeof(*texts->text));
	}
	if (lh_table_insert(texts->numbers, copy, (void *)(uintptr_t)texts->count) != 0)
		give_up("no memory");
	texts->text[texts->count] = copy;
	return texts->count++;
}

size_t texts_count(const struct texts *texts)
{
	return texts->count;
}

const char *texts_get(const struct texts *texts, size_t number)
{
	return texts->text[number];
}

/*
 * Bytes of the character that starts at `at`; 0: no UTF-8. Surrogates, what is too long, and what
 * is too high are none.
 */
static size_t character_bytes(const unsigned char *at)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t bytes = *at < 0x80     ? 1 :
		       *at >> 5 == 6  ? 2 :
		       *at >> 4 == 14 ? 3 :
		       *at >> 3 == 30 ? 4 :
					0;
	uint32_t code = *at & 0xffU >> (bytes + 1);

	if (bytes < 2)
		return bytes;
	for (size_t i = 1; i < bytes; i++) {
		if (at[i] >> 6 != 2)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	return code < least[bytes] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 :
											     bytes;
}

char *utf8_copy(const char *text)
{
	static const char replacement[] = "\xef\xbf\xbd";
	const unsigned char *at = (const unsigned char *)text;
	char *copy = xmalloc(strlen(text) * 3 + 1), *to = copy;

	while (*at) {
		size_t bytes = character_bytes(at);

		memcpy(to, bytes ? (const char *)at : replacement, bytes ? bytes : 3);
		to += bytes ? bytes : 3;
		at += bytes ? bytes : 1;
	}
	*to = 0;
	return copy;
}
