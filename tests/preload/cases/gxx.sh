# SPDX-License-Identifier: MIT
# g++ on a source with much of the standard library, by way of a precompiled header as well.
set -euo pipefail

cat >all.h <<'END'
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>
END
cat >words.cpp <<'END'
#include "all.h"

template <int N> struct Fib { static constexpr long value = Fib<N - 1>::value + Fib<N - 2>::value; };
template <> struct Fib<0> { static constexpr long value = 0; };
template <> struct Fib<1> { static constexpr long value = 1; };

int main()
{
	std::map<std::string, std::vector<int>> where;
	std::ostringstream text;

	for (int i = 0; i < 3000; i++)
		text << "w" << i * 7919 % 401 << (i % 7 ? ' ' : '!');
	std::istringstream words(text.str());
	std::string word;
	int n = 0;
	while (std::getline(words, word, ' '))
		where[word].push_back(n++);
	auto longest = std::max_element(where.begin(), where.end(), [](const auto &a, const auto &b) {
		return a.second.size() < b.second.size();
	});
	auto shared = std::make_shared<std::string>(longest->first);
	std::cout << where.size() << ' ' << n << ' ' << *shared << ' ' << Fib<80>::value << std::endl;
	return 0;
}
END

g++ -std=c++17 -O2 -frandom-seed=1 -c words.cpp -o words.o
g++ words.o -o words
./words >words.out
./words
g++ -std=c++17 -x c++-header all.h -o all.h.gch
g++ -std=c++17 -Winvalid-pch -H -frandom-seed=1 -fsyntax-only words.cpp 2>included
head -n 1 included
g++ -std=c++17 -g -frandom-seed=1 -c words.cpp -o words-g.o
c++filt <<<"_ZNSt6vectorIiSaIiEE9push_backEOi"
nm -C words.o | md5sum
