! Jacobi iteration on a 2-D process grid with derived column types, persistent requests and a convergence test; Fortran 90.
program stencil
  use mpi
  implicit none
  integer, parameter :: dp = kind(1.0d0), m = 60
  integer :: ierr, rank, nranks, grid, dims(2), coords(2), west, east, south, north, column, requests(8)
  integer :: step, steps, pace
  logical :: periods(2)
  real(dp) :: u(0:m+1, 0:m+1), v(0:m+1, 0:m+1), change, all_change, total
  character(len=32) :: arg

  call MPI_Init(ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, nranks, ierr)
  steps = 150
  pace = 0
  if (command_argument_count() >= 1) then
    call get_command_argument(1, arg)
    read (arg, *) steps
  end if
  if (command_argument_count() >= 2) then
    call get_command_argument(2, arg)
    read (arg, *) pace
  end if
  dims = 0
  periods = .false.
  call MPI_Dims_create(nranks, 2, dims, ierr)
  call MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, .false., grid, ierr)
  call MPI_Comm_rank(grid, rank, ierr)
  call MPI_Cart_coords(grid, rank, 2, coords, ierr)
  call MPI_Cart_shift(grid, 0, 1, west, east, ierr)
  call MPI_Cart_shift(grid, 1, 1, south, north, ierr)
  call MPI_Type_vector(m, 1, m + 2, MPI_DOUBLE_PRECISION, column, ierr)
  call MPI_Type_commit(column, ierr)

  u = 0.0_dp
  if (west == MPI_PROC_NULL) u(0, :) = 1.0_dp
  if (north == MPI_PROC_NULL) u(:, m+1) = 2.0_dp
  v = u
  call MPI_Recv_init(u(0, 1), 1, column, west, 1, grid, requests(1), ierr)
  call MPI_Recv_init(u(m+1, 1), 1, column, east, 2, grid, requests(2), ierr)
  call MPI_Recv_init(u(1, 0), m, MPI_DOUBLE_PRECISION, south, 3, grid, requests(3), ierr)
  call MPI_Recv_init(u(1, m+1), m, MPI_DOUBLE_PRECISION, north, 4, grid, requests(4), ierr)
  call MPI_Send_init(u(m, 1), 1, column, east, 1, grid, requests(5), ierr)
  call MPI_Send_init(u(1, 1), 1, column, west, 2, grid, requests(6), ierr)
  call MPI_Send_init(u(1, m), m, MPI_DOUBLE_PRECISION, north, 3, grid, requests(7), ierr)
  call MPI_Send_init(u(1, 1), m, MPI_DOUBLE_PRECISION, south, 4, grid, requests(8), ierr)

  do step = 1, steps
    call MPI_Startall(8, requests, ierr)
    call MPI_Waitall(8, requests, MPI_STATUSES_IGNORE, ierr)
    v(1:m, 1:m) = 0.25_dp * (u(0:m-1, 1:m) + u(2:m+1, 1:m) + u(1:m, 0:m-1) + u(1:m, 2:m+1))
    change = maxval(abs(v(1:m, 1:m) - u(1:m, 1:m)))
    u(1:m, 1:m) = v(1:m, 1:m)
    call MPI_Allreduce(change, all_change, 1, MPI_DOUBLE_PRECISION, MPI_MAX, grid, ierr)
    if (rank == 0 .and. mod(step, 25) == 0) write (*, '(a,i0,a,es23.15)') 'stencil step ', step, ' change ', all_change
    if (pace > 0) call nap(pace)
  end do
  if (any(u < 0.0_dp) .or. any(u > 2.0_dp)) then
    write (*, '(a,i0,a)') 'stencil: rank ', rank, ': FAILED: a value left the bounds'
    call MPI_Abort(MPI_COMM_WORLD, 99, ierr)
  end if
  call MPI_Reduce(sum(u(1:m, 1:m)), total, 1, MPI_DOUBLE_PRECISION, MPI_SUM, 0, grid, ierr)
  if (rank == 0) write (*, '(a,es23.15)') 'stencil: ok ', total
  do step = 1, 8
    call MPI_Request_free(requests(step), ierr)
  end do
  call MPI_Type_free(column, ierr)
  call MPI_Finalize(ierr)

contains

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

end program stencil
