# SPDX-License-Identifier: MIT
# ssh-keygen: keys of three kinds, their fingerprints, conversions, signatures and certificates.
set -euo pipefail

for kind in ed25519 rsa ecdsa; do
	ssh-keygen -q -t "$kind" -N '' -C "test key" -f "$kind"
	ssh-keygen -l -f "$kind"
	ssh-keygen -l -v -E md5 -f "$kind.pub"
	ssh-keygen -y -f "$kind" | cmp - <(cat "$kind.pub") && echo "$kind: the public key is the private one's"
done
ssh-keygen -e -m PKCS8 -f rsa.pub | sed -n 1p
ssh-keygen -q -p -P '' -N 'a pass phrase' -a 4 -f rsa >/dev/null
status=0
ssh-keygen -y -P wrong -f rsa 2>/dev/null || status=$?
echo "wrong pass phrase: $status"
echo "a message" >message
ssh-keygen -q -Y sign -f ed25519 -n test message 2>/dev/null
echo "tester $(cat ed25519.pub)" >signers
ssh-keygen -Y verify -f signers -I tester -n test -s message.sig <message
status=0
echo "another message" | ssh-keygen -Y verify -f signers -I tester -n test -s message.sig 2>&1 || status=$?
echo "another message: $status"
ssh-keygen -q -s ed25519 -I name -n tester -V 20200101:20300101 ecdsa.pub
ssh-keygen -L -f ecdsa-cert.pub | grep -E 'Type|Key ID|Valid|tester'
echo "host.example $(cat ed25519.pub)" >known
ssh-keygen -q -H -f known 2>/dev/null
ssh-keygen -F host.example -f known | sed 's/|1|[^ ]*/HASHED/'
