! Files written by every rank from Fortran: formatted (appended), unformatted sequential, direct access; read back and compared.
program fortran_files
  use mpi
  implicit none
  integer, parameter :: dp = kind(1.0d0)
  integer :: ierr, rank, nranks, step, steps, pace, i, got, count_lines, status
  real(dp) :: values(100), back(100), total, all_total
  character(len=32) :: arg, name
  character(len=80) :: line

  call MPI_Init(ierr)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, nranks, ierr)
  steps = 30
  pace = 0
  if (command_argument_count() >= 1) then
    call get_command_argument(1, arg)
    read (arg, *) steps
  end if
  if (command_argument_count() >= 2) then
    call get_command_argument(2, arg)
    read (arg, *) pace
  end if
  total = 0.0_dp
  write (name, '(a,i0,a)') 'fortran-', rank, '.log'
  open (unit=10, file=name, status='replace', action='write', form='formatted')
  close (10)
  write (name, '(a,i0,a)') 'fortran-', rank, '.direct'
  open (unit=12, file=name, status='replace', access='direct', recl=800, form='unformatted', action='readwrite')
  do step = 1, steps
    do i = 1, 100
      values(i) = sin(real(step * i + rank, dp))
    end do
    write (name, '(a,i0,a)') 'fortran-', rank, '.log'
    open (unit=10, file=name, status='old', position='append', action='write', form='formatted')
    write (10, '(a,i6,es23.15)') 'step', step, values(step)
    close (10)

    write (name, '(a,i0,a)') 'fortran-', rank, '.bin'
    open (unit=11, file=name, status='replace', form='unformatted', action='write')
    write (11) step, values
    close (11)
    open (unit=11, file=name, status='old', form='unformatted', action='read')
    read (11) got, back
    close (11)
    if (got /= step .or. any(back /= values)) call fail('the unformatted file')

    write (12, rec=mod(step, 5) + 1) values
    read (12, rec=mod(step, 5) + 1) back
    if (any(back /= values)) call fail('the direct file')

    call MPI_Allreduce(sum(values), all_total, 1, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD, ierr)
    total = total + all_total
    if (pace > 0) call nap(pace)
  end do
  close (12)
  write (name, '(a,i0,a)') 'fortran-', rank, '.log'
  open (unit=10, file=name, status='old', action='read', form='formatted')
  count_lines = 0
  do
    read (10, '(a)', iostat=status) line
    if (status /= 0) exit
    count_lines = count_lines + 1
  end do
  close (10)
  if (count_lines /= steps) call fail('the number of lines of the log')
  if (rank == 0) write (*, '(a,es23.15)') 'fortran_files: ok ', total
  call MPI_Finalize(ierr)

contains

  subroutine fail(what)
    character(len=*), intent(in) :: what
    integer :: ierror
    write (*, '(a,i0,2a)') 'fortran_files: rank ', rank, ': FAILED: ', what
    call MPI_Abort(MPI_COMM_WORLD, 99, ierror)
  end subroutine fail

  subroutine nap(microseconds)
    use iso_c_binding, only: c_int
    integer, intent(in) :: microseconds
    interface
      integer(c_int) function usleep(us) bind(c, name='usleep')
        import :: c_int
        integer(c_int), value :: us
      end function usleep
    end interface
    integer(c_int) :: ignored
    ignored = usleep(int(microseconds, c_int))
  end subroutine nap

end program fortran_files
