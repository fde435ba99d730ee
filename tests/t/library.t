#!/bin/bash
# The runtime lives in the user's process: it must not touch the allocator, stdio or threads of its libc, nor export more than it replaces.
build=${EGIDA_BUILD:-$(dirname "$0")/../../build}
library=$build/.libs/libegida.so
count=0 failed=0
ok() {
  count=$((count + 1))
  if [ "$1" -eq 0 ]; then echo "ok $count - $2"; else
    echo "not ok $count - $2"
    failed=1
  fi
}
[ -f "$library" ]
ok $? "libegida.so is there"
used=$(nm -D --undefined-only "$library" | awk '{ print $2 }' | sed 's/@.*//')
for name in malloc calloc realloc free posix_memalign aligned_alloc printf fprintf puts fopen fwrite fputs vfprintf snprintf mmap munmap brk sbrk \
  pthread_create pthread_mutex_lock abort exit syslog; do
  grep -qx "$name" <<<"$used"
  [ $? -ne 0 ]
  ok $? "libegida.so does not use $name"
done
! nm -D --defined-only "$library" | awk '{ print $3 }' | grep -q '^egd_'
ok $? "libegida.so exports nothing internal"
# the build's own objects, not those that libc brings with it
! readelf -lW "$library" | grep -q 'GNU_STACK.*RWE'
ok $? "the stack of libegida.so is not executable"
echo "1..$count"
exit $failed
