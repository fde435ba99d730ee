! Allocatable arrays, a unit on a file and a scratch unit.
program heat
  implicit none
  external :: image_point
  integer, parameter :: n = 200
  real(8), allocatable :: t(:,:), u(:,:)
  real(8) :: back
  integer :: step
  allocate(t(n,n), u(n,n))
  t = 0d0; t(1,:) = 100d0; u = t
  open(unit=11, status='scratch', form='formatted')
  do step = 1, 12
    u(2:n-1,2:n-1) = 0.25d0*(t(1:n-2,2:n-1)+t(3:n,2:n-1)+t(2:n-1,1:n-2)+t(2:n-1,3:n))
    t = u
    write(11,'(es24.16)') sum(t)
    call image_point()
    print '(i4,es24.16)', step, sum(t)
  end do
  rewind(11)
  do step = 1, 12
    read(11,'(es24.16)') back
    print '(a,es24.16)', 'scratch ', back
  end do
end program heat
