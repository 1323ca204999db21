# SPDX-License-Identifier: MIT
"""names.py PAGE: prints the names that the NAME section of a man page lists, one a line."""

import re
import sys

with open(sys.argv[1], encoding="utf-8") as page:
    section = re.search(r"^\.SH NAME\n(.*?) \\- ", page.read(), re.DOTALL | re.MULTILINE).group(1)
print("\n".join(section.replace(",", " ").split()))
