/* SPDX-License-Identifier: MIT
 *
 * nothing: the program that start-up is measured with.
 */

int main(void)
{
	return 0;
}
