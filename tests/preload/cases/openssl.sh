# SPDX-License-Identifier: MIT
# openssl: digests, ciphers there and back, keys and certificates, and two seconds of its speed test.
set -euo pipefail

awk 'BEGIN { x = 5; for (i = 0; i < 60000; i++) { x = (x * 48271) % 2147483647; print x } }' >data
for digest in md5 sha1 sha256 sha512 sha3-256 blake2b512; do
	openssl dgst "-$digest" data
done
openssl dgst -sha256 -hmac key data
for cipher in aes-256-cbc aes-128-ctr chacha20 camellia-128-cbc; do
	openssl enc "-$cipher" -pbkdf2 -iter 1000 -S 0102030405060708 -k secret -in data -out "data.$cipher"
	md5sum <"data.$cipher"
	openssl enc -d "-$cipher" -pbkdf2 -iter 1000 -S 0102030405060708 -k secret -in "data.$cipher" | cmp - data
done
openssl enc -base64 -in data | openssl enc -d -base64 | cmp - data && echo "base64: same"
openssl genpkey -quiet -algorithm ed25519 -out key.pem 2>/dev/null || openssl genpkey -algorithm ed25519 -out key.pem
openssl req -x509 -new -key key.pem -subj /CN=test -days 30 -out cert.pem
openssl x509 -in cert.pem -noout -subject -issuer
openssl verify -CAfile cert.pem cert.pem
openssl genrsa -out rsa.pem 1024 2>/dev/null
openssl rsa -in rsa.pem -pubout -out pub.pem 2>/dev/null
openssl dgst -sha256 -sign rsa.pem -out sig data
openssl dgst -sha256 -verify pub.pem -signature sig data
status=0
openssl dgst -sha256 -verify pub.pem -signature sig pub.pem 2>/dev/null || status=$?
echo "wrong data: $status"
openssl prime -checks 20 1000000007
# The table's last line, without its number.
openssl speed -seconds 1 -bytes 1024 -evp sha256 2>/dev/null | sed -nE 's/^(sha256) +[0-9.]+k$/\1: measured/p'
openssl speed -seconds 1 -multi 2 -bytes 256 -evp aes-128-cbc 2>/dev/null | sed -nE 's/^(AES-128-CBC) +[0-9.]+k$/\1: measured/p'
