# SPDX-License-Identifier: MIT
# Perl: hashes, regular expressions, sorting, formats, closures, fork and waitpid.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use POSIX ();
use Storable qw(freeze thaw dclone);

$| = 1;

my %words;
my $seed = 7;
sub rnd { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return $seed % $_[0]; }

for my $i (1 .. 120000) {
	my $word = join '', map { chr(97 + rnd(26)) } 1 .. 1 + rnd(5);
	push @{ $words{$word} }, $i;
}
print scalar(keys %words), " words, ", md5_hex(join ',', map { "$_=@{$words{$_}}" } sort keys %words), "\n";
delete @words{ grep { @{ $words{$_} } < 3 } keys %words };
my @order = sort { @{ $words{$b} } <=> @{ $words{$a} } || $a cmp $b } keys %words;
print "most used: @order[0 .. 9]\n";

my $text = join ' ', map { "$_:" . scalar @{ $words{$_} } } @order;
my $count = 0;
$count += $2 while $text =~ /\b([a-m]+):(\d+)/g;
(my $other = $text) =~ s/(\w+):(\d+)/"$2" . ucfirst reverse $1/ge;
$other =~ tr/a-zA-Z/n-za-mN-ZA-M/;
print "counted $count, ", md5_hex($other), ", ", length($other), "\n";
print "balanced: ", ("((()())(()))" x 50) =~ /^(\((?:[^()]++|(?1))*+\))+$/ ? "yes" : "no", "\n";

my $deep = dclone({ map { $_ => { list => [ 1 .. $_ % 40 ], text => 'x' x $_ } } 1 .. 600 });
my $copy = thaw(freeze($deep));
print "copied: ", join(' ', map { scalar @{ $copy->{$_}{list} } } (39, 80, 599)), "\n";

my @closures = map { my $n = $_; sub { return $n * shift } } 1 .. 5000;
my $sum = 0;
$sum += $_->(3) for @closures;
my $long = '';
$long .= "line $_\n" for 1 .. 60000;
print "sum $sum, long ", length($long), ", ", md5_hex($long), "\n";
my @lines = split /\n/, $long;
print "lines ", scalar(@lines), ", ", (join ' ', (sort { substr($b, -3) cmp substr($a, -3) || $a cmp $b } @lines)[0 .. 3]), "\n";

my %child;
for my $i (1 .. 25) {
	pipe(my $from, my $to) or die "pipe: $!";
	my $pid = fork;
	die "fork: $!" unless defined $pid;
	if (!$pid) {
		close $from;
		my %mine = map { $_ => [$_ x 3] } 1 .. 2000 + $i;
		print $to md5_hex(join ',', map { $mine{$_}[0] } sort keys %mine), "\n";
		close $to;
		POSIX::_exit($i);
	}
	close $to;
	$child{$pid} = [ $i, scalar <$from> ];
	close $from;
}
while ((my $pid = waitpid(-1, 0)) > 0) {
	my $status = $? >> 8;
	die "child $child{$pid}[0] ended with $status\n" if $status != $child{$pid}[0];
}
print "children: ", md5_hex(join '', map { $_->[1] } sort { $a->[0] <=> $b->[0] } values %child), "\n";
print "from a shell: ", scalar(`echo one; echo two | tr a-z A-Z`), "exit ", system('sh', '-c', 'exit 3') >> 8, "\n";
eval { die { code => 42, text => 'y' x 5000 } };
print "died with $@->{code}, ", length($@->{text}), "\n";
