! Conjugate gradients on a 2-D Laplacian, rows distributed over the ranks; Fortran 90, "use mpi". Deterministic for a number of ranks.
program cg
  use mpi
  implicit none
  integer, parameter :: dp = kind(1.0d0)
  integer :: ierr, rank, nranks, n, rows, iter, repeat_count, pace, i, j, left, right, step
  real(dp), allocatable :: x(:,:), r(:,:), p(:,:), q(:,:), b(:,:)
  real(dp) :: rho, rho_old, alpha, beta, pq, residual
  character(len=32) :: arg

  call MPI_Init(ierr)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, nranks, ierr)
  repeat_count = 3
  pace = 0
  if (command_argument_count() >= 1) then
    call get_command_argument(1, arg)
    read (arg, *) repeat_count
  end if
  if (command_argument_count() >= 2) then
    call get_command_argument(2, arg)
    read (arg, *) pace
  end if
  n = 96
  rows = n / nranks
  if (rank < mod(n, nranks)) rows = rows + 1
  left = rank - 1
  if (left < 0) left = MPI_PROC_NULL
  right = rank + 1
  if (right >= nranks) right = MPI_PROC_NULL
  allocate (x(n, 0:rows+1), r(n, 0:rows+1), p(n, 0:rows+1), q(n, 0:rows+1), b(n, 0:rows+1))

  do step = 1, repeat_count
    do j = 1, rows
      do i = 1, n
        b(i, j) = 1.0_dp / real(i + step, dp) + real(rank, dp)
      end do
    end do
    x = 0.0_dp
    r = b
    p = 0.0_dp
    p(:, 1:rows) = r(:, 1:rows)
    rho = dot(r, r)
    do iter = 1, 60
      call apply(p, q)
      pq = dot(p, q)
      alpha = rho / pq
      x(:, 1:rows) = x(:, 1:rows) + alpha * p(:, 1:rows)
      r(:, 1:rows) = r(:, 1:rows) - alpha * q(:, 1:rows)
      rho_old = rho
      rho = dot(r, r)
      beta = rho / rho_old
      p(:, 1:rows) = r(:, 1:rows) + beta * p(:, 1:rows)
      if (pace > 0 .and. mod(iter, 10) == 0) call nap(pace)
    end do
    ! the residual from scratch must agree with the recurrence
    p(:, 1:rows) = x(:, 1:rows)
    call apply(p, q)
    q(:, 1:rows) = b(:, 1:rows) - q(:, 1:rows)
    residual = sqrt(dot(q, q))
    if (abs(residual - sqrt(rho)) > 1.0e-6_dp * (1.0_dp + residual)) then
      write (*, '(a,i0,a,2es16.8)') 'cg: rank ', rank, ': FAILED: residuals differ ', residual, sqrt(rho)
      call MPI_Abort(MPI_COMM_WORLD, 99, ierr)
    end if
    if (rank == 0) write (*, '(a,i0,a,es23.15)') 'cg step ', step, ' residual ', residual
  end do
  if (rank == 0) write (*, '(a,es23.15)') 'cg: ok ', residual
  call MPI_Finalize(ierr)

contains

  real(dp) function dot(u, v)
    real(dp), intent(in) :: u(:, 0:), v(:, 0:)
    real(dp) :: mine
    integer :: ierror
    mine = sum(u(:, 1:rows) * v(:, 1:rows))
    call MPI_Allreduce(mine, dot, 1, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD, ierror)
  end function dot

  subroutine apply(u, v)
    real(dp), intent(inout) :: u(:, 0:), v(:, 0:)
    integer :: ierror, k, requests(4)
    if (left == MPI_PROC_NULL) u(:, 0) = 0.0_dp
    if (right == MPI_PROC_NULL) u(:, rows+1) = 0.0_dp
    call MPI_Irecv(u(1, 0), n, MPI_DOUBLE_PRECISION, left, 1, MPI_COMM_WORLD, requests(1), ierror)
    call MPI_Irecv(u(1, rows+1), n, MPI_DOUBLE_PRECISION, right, 2, MPI_COMM_WORLD, requests(2), ierror)
    call MPI_Isend(u(1, rows), n, MPI_DOUBLE_PRECISION, right, 1, MPI_COMM_WORLD, requests(3), ierror)
    call MPI_Isend(u(1, 1), n, MPI_DOUBLE_PRECISION, left, 2, MPI_COMM_WORLD, requests(4), ierror)
    call MPI_Waitall(4, requests, MPI_STATUSES_IGNORE, ierror)
    do k = 1, rows
      v(:, k) = 4.0_dp * u(:, k) - u(:, k-1) - u(:, k+1)
      v(2:n, k) = v(2:n, k) - u(1:n-1, k)
      v(1:n-1, k) = v(1:n-1, k) - u(2:n, k)
    end do
  end subroutine apply

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

end program cg
