/* SPDX-License-Identifier: MIT */
/* names.cc - allocations in functions with C++ names; the second argument says how many more than in another run. */
#include <cstdlib>
#include <string>
#include <vector>

namespace shop
{
struct Basket {
	std::vector<int *> items;

	__attribute__((noinline)) void put(int item)
	{
		items.push_back(new int(item));
	}
};

template <typename T> __attribute__((noinline)) T *copy_of(const T &what)
{
	T *copy = static_cast<T *>(std::malloc(sizeof(T)));

	*copy = what;
	return copy;
}
} // namespace shop

int main(int argc, char **argv)
{
	int count = argc > 1 ? std::atoi(argv[1]) : 0;
	shop::Basket basket;
	long *last = nullptr;

	for (int i = 0; i < count; i++)
		basket.put(i);
	for (int i = 0; i < 10; i++)
		last = shop::copy_of<long>(i);
	return last == nullptr;
}
