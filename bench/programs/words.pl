# SPDX-License-Identifier: MIT
# Hashes of arrays of strings: built, sorted, joined, dropped.
use strict;
use warnings;

my $state = 12345;
sub next_random {
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return $state >> 8;
}

my $total = 0;
for my $round (1 .. 5) {
    my %group;
    for my $i (1 .. 60000) {
        my $key = 'k' . next_random() % 5000;
        push @{ $group{$key} }, { id => $i, text => 'x' x (next_random() % 60) };
    }
    my @lines;
    for my $key (sort keys %group) {
        my @part = sort { length $a->{text} <=> length $b->{text} || $a->{id} <=> $b->{id} }
            @{ $group{$key} };
        push @lines, join(',', $key, map { "$_->{id}:$_->{text}" } @part);
    }
    my $text = join("\n", @lines);
    for my $line (split /\n/, $text) {
        my @fields = split /,/, $line;
        (my $copy = $line) =~ s/x+/y/g;
        $total += scalar(@fields) + length $copy;
    }
}
print "$total\n";
