/* SPDX-License-Identifier: MIT */
/* calls.cc - every call of the public headers, from C++, beside the C++ library's own memory. */
#include "calls.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

/* A C++ owner of what kmalloc() gave. */
struct kfree_deleter {
	void operator()(const void *object) const
	{
		kfree(object);
	}
};

static char *number(int i)
{
	char *text __free(kfree) = kasprintf(GFP_KERNEL, "%d,", i);
	char *lost __free(kfree) = kstrdup(text, GFP_KERNEL);

	CHECK(lost && !strcmp(lost, text));
	return_ptr(text);
}

int main()
{
	std::vector<std::unique_ptr<char, kfree_deleter>> texts;
	std::string all;

	call_everything();
	for (int i = 0; i < 1000; i++)
		texts.emplace_back(number(i));
	for (const auto &text : texts)
		all += text.get();
	CHECK(all.size() == 3890);
	std::thread other(call_everything);
	other.join();
	/* an object of new is one of kfree()'s kind, too */
	kfree(hide(::operator new(50)));
	return 0;
}
