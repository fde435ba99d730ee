! The Fortran library's ways to files and time.
program libc_app
  implicit none
  integer :: i, ios, values(8)
  integer(8) :: count, rate
  real :: chance, seconds
  character(len=80) :: line
  open(10, file='fortran-text', status='replace', action='write')
  do i = 1, 200
    write(10, '(a,i6)') 'record ', i
  end do
  close(10)
  open(10, file='fortran-text', status='old', position='append', action='write')
  write(10, '(a)') 'appended'
  close(10)
  open(11, file='fortran-text', status='old', action='readwrite')
  do i = 1, 3
    read(11, '(a)', iostat=ios) line
  end do
  print '(a)', trim(line)
  rewind(11)
  read(11, '(a)') line
  write(11, '(a)') 'cut here'
  close(11)
  open(12, file='fortran-direct', access='direct', recl=64, form='unformatted', status='replace')
  do i = 1, 20
    write(12, rec=i) i, i * 2.5
  end do
  read(12, rec=7) i, seconds
  print *, i, seconds
  close(12)
  open(13, file='fortran-stream', access='stream', form='unformatted', status='replace')
  write(13) (i, i = 1, 5000)
  close(13)
  open(14, status='scratch')
  write(14, *) 'scratch'
  rewind(14)
  read(14, '(a)') line
  print '(a)', trim(line)
  close(14)
  call random_seed()
  call random_number(chance)
  call cpu_time(seconds)
  call system_clock(count, rate)
  call date_and_time(values=values)
  print *, chance, seconds, count, values
  inquire(file='fortran-text', size=i)
  print *, i
  ! A child whose end was not seen before a failure is lost: only where nobody kills.
  call get_command_argument(1, line)
  if (line == 'child') call execute_command_line('echo by a child > fortran-child')
  open(15, file='fortran-gone')
  close(15, status='delete')
  print '(a)', 'done'
end program
